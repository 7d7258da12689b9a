"""Padding: how an image keeps its size, and its border a say.

Without padding every convolution shrinks the image, and a corner pixel is seen by one window only
while an inner one is seen by nine.
"""

import numpy as np

import engine


def main():
    image, kernel = np.ones((5, 5), int), np.ones((3, 3), int)

    shrunk = engine.conv2d(image, kernel)
    print(f"5x5, 3x3 filter, padding=0 -> {shrunk.shape[0]}x{shrunk.shape[1]}   (n - f + 1)")

    kept = engine.conv2d(image, kernel, padding=1)
    print(f"5x5, 3x3 filter, padding=1 -> {kept.shape[0]}x{kept.shape[1]}   (n + 2p - f + 1)")
    print("how many pixels each window holds, the zeros around not counted:", kept, sep="\n")

    same = engine.conv2d(image, kernel, padding="same")
    print('padding="same" finds that p by itself:', np.array_equal(same, kept))

    seen = engine.conv2d_backward_data(shrunk // 9, kernel, image.shape)
    print("by how many windows each pixel is seen without padding:", seen, sep="\n")


if __name__ == "__main__":
    main()
