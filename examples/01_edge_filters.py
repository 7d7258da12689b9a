"""A filter is a small picture of what it looks for: edges.

The image has three dark rows above three bright ones.  The filter subtracts the row above from the
row below, so it answers only where brightness changes from one to the other.
"""

import numpy as np

import engine

HORIZONTAL = np.array([[-1, -1, -1],
                       [0, 0, 0],
                       [1, 1, 1]])


def main():
    image = np.zeros((6, 6), int)
    image[3:] = 255
    print("image, 6x6:", image, sep="\n")

    horizontal = engine.conv2d(image, HORIZONTAL)
    print("\nhorizontal-edge filter, 3x3 -> 4x4 (6 - 3 + 1 = 4):", horizontal, sep="\n")

    vertical = engine.conv2d(image, HORIZONTAL.T)
    print("\nvertical-edge filter: there are no vertical edges", vertical, sep="\n")

    turned = engine.conv2d(image.T, HORIZONTAL.T)
    print("\nthe image turned on its side, vertical-edge filter:", turned, sep="\n")


if __name__ == "__main__":
    main()
