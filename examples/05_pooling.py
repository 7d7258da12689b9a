"""Pooling: one number for each window, no parameters, and a small shift forgiven."""

import numpy as np

import engine


def main():
    features = np.array([[3., 1., 1., 3.],
                         [2., 5., 0., 2.],
                         [1., 4., 2., 1.],
                         [4., 7., 2., 4.]])
    print("feature map, 4x4:", features, sep="\n")
    for name in "max", "min", "avg", "lp":
        pool = getattr(engine, f"{name}_pool2d")
        print(f"\n{name}-pooling, 2x2 windows, stride 2 -> 2x2:", pool(features, 2).round(3),
              sep="\n")
    print(f"\nglobal max-pooling -> one number: {engine.global_max_pool2d(features).item():g}")
    print(f"global average-pooling -> one number: {engine.global_avg_pool2d(features).item():g}")

    edge = np.zeros((6, 6))
    edge[:, 2] = 9.
    shifted = np.roll(edge, 1, axis=1)
    print("\na line in column 2, and the same line in column 3:")
    print(f"  equal pixels: {np.array_equal(edge, shifted)}")
    print(f"  equal after 2x2 max-pooling: "
          f"{np.array_equal(engine.max_pool2d(edge, 2), engine.max_pool2d(shifted, 2))}")
    far = np.roll(edge, 2, axis=1)
    print(f"  and shifted by two, into the next window: "
          f"{np.array_equal(engine.max_pool2d(edge, 2), engine.max_pool2d(far, 2))}")


if __name__ == "__main__":
    main()
