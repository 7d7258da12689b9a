"""Filters on a photograph: edges of scikit-learn's picture of a Chinese palace, as a PNG."""

import sys

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

import engine


def main(path="edges.png"):
    photo = load_sample_image("china.jpg").astype("float32")  # (427, 640, 3), channels last
    sobel = np.float32([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 3
    filters = np.stack([[sobel] * 3, [sobel.T] * 3])  # two filters of three channels, 3x3 each
    edges = engine.conv2d(photo, filters, padding=1, padding_mode="edge", layout="NHWC")
    strength = np.hypot(edges[..., 0], edges[..., 1])
    print(f"{photo.shape} -> {edges.shape} -> {strength.shape}")
    Image.fromarray(strength.clip(0, 255).astype("uint8")).save(path)
    print(f"written to {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
