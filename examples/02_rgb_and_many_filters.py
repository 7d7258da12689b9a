"""Colour images have three channels, and layers have many filters.

A filter is as deep as its input: it weighs red, green and blue by 3x3 weights each and adds
everything up, so one filter gives one feature map.  Ten filters give ten maps: those are the
channels of the next layer's input.
"""

import numpy as np

import engine


def main():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 6, 6))  # channels, height, width
    one = rng.integers(-1, 2, (1, 3, 3, 3))  # filters, channels, height, width

    together = engine.conv2d(image, one)
    print(f"RGB image {image.shape} * one filter {one.shape} -> {together.shape}")

    apart = sum(engine.conv2d(image[c], one[0, c]) for c in range(3))
    print("the same as three single-channel convolutions, added:",
          np.array_equal(together[0], apart))

    many = rng.integers(-1, 2, (10, 3, 3, 3))
    maps = engine.conv2d(image, many)
    print(f"RGB image {image.shape} * ten filters {many.shape} -> {maps.shape}")

    bias = np.ones(10, int)
    print(f"parameters of that layer: {many.size} weights + {bias.size} biases = "
          f"{many.size + bias.size}, whatever the size of the image")


if __name__ == "__main__":
    main()
