"""Photographs as inputs of networks trained on ImageNet, and the names of its classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from engine.nn._extras import need

CAFFE_MEAN = np.array([104, 117, 123], np.float32)  # blue, green, red
TORCH_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
TORCH_STD = np.array([0.229, 0.224, 0.225], np.float32)
STYLES = ("torch", "caffe", "inception")
# torchvision's networks that are not of style "torch"
STYLE_OF = {"googlenet_torchvision": "inception", "inception_v3": "inception"}


def read_middle(path, size: tuple[int, int], share: float = 1.0) -> np.ndarray:
    """The middle of the photograph in a file, upright, as uint8 (H, W, 3).

    That is the largest part of the proportions of `size`, or so large a `share` of its height and
    width: networks are usually tested on 0.875.
    """
    ops = need("PIL.ImageOps", "reading images")
    image = need("PIL.Image", "reading images")
    height, width = size
    with image.open(path) as file:
        upright = ops.exif_transpose(file).convert("RGB")
    return np.asarray(ops.fit(upright, (width, height), image.Resampling.BILINEAR,
                              bleed=(1 - share) / 2))


def prepare(pixels: np.ndarray, style: str = "torch") -> np.ndarray:
    """uint8 (..., H, W, 3) as float32 (..., 3, H, W), as the weights expect it.

    "torch" divides by 255, then takes off the mean and divides by the deviation of each channel;
    "caffe" has blue first and takes off the mean; "inception" goes from -1 to 1.
    """
    if style not in STYLES:
        raise ValueError(f'prepare: `style` is "{style}", expected one of {", ".join(STYLES)}')
    x = np.asarray(pixels, np.float32)
    if style == "caffe":
        x = x[..., ::-1] - CAFFE_MEAN
    elif style == "inception":
        x = x / 127.5 - 1
    else:
        x = (x / 255 - TORCH_MEAN) / TORCH_STD
    return np.ascontiguousarray(np.moveaxis(x, -1, -3), np.float32)


def imagenet_names(path=None) -> list[str] | None:
    """The first name of each of the 1,000 classes, from a file of lines "n01440764 tench, ...".

    Without `path` from photos/synset_words.txt in the folder that ENGINE_DATA names; None if there
    is no such file.
    """
    if path is None:
        path = Path(os.environ.get("ENGINE_DATA", "")) / "photos" / "synset_words.txt"
        if not path.is_file():
            return None
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.partition(" ")[2].split(",")[0] for line in lines]
