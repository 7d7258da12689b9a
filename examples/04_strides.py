"""Strides: windows that jump.

Output size: floor((n + 2p - f) / s) + 1.  The floor is there because a last window that would hang
over the edge is left out: with 6 rows, windows start at rows 0 and 2, and one at row 4 would need
a row 6.
"""

import numpy as np

import engine


def main():
    image, kernel = np.arange(42).reshape(6, 7), np.ones((3, 3), int)
    print("image, 6x7:", image, sep="\n")

    for stride in 1, 2, (1, 2), 3:
        y = engine.conv2d(image, kernel, stride=stride)
        print(f"3x3 filter, stride={stride} -> {y.shape[0]}x{y.shape[1]}")

    y = engine.conv2d(image, kernel, stride=2)
    print("with stride 2, floor((6 - 3) / 2) + 1 = 2 rows and floor((7 - 3) / 2) + 1 = 3 columns:")
    print(y)
    dense = engine.conv2d(image, kernel)
    print("every second answer of stride 1:", np.array_equal(y, dense[::2, ::2]))


if __name__ == "__main__":
    main()
