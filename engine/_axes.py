"""Between the axes a user sees and the four (n, c, h, w) that kernels see; always views."""

from __future__ import annotations

import numpy as np

from engine._problem import memory_order

LAYOUTS = ("NCHW", "NHWC")


def to_nchw(array: np.ndarray, layout: str) -> np.ndarray:
    """View an image or a batch of `layout`, or a bare plane, as (n, c, h, w)."""
    if array.ndim == 2:
        return array[None, None]
    if layout == "NHWC":
        array = array.transpose(2, 0, 1) if array.ndim == 3 else array.transpose(0, 3, 1, 2)
    return array if array.ndim == 4 else array[None]


def from_nchw(array: np.ndarray, ndim: int, layout: str) -> np.ndarray:
    """Undo `to_nchw` for an array that is to have `ndim` axes."""
    if ndim == 2:
        return array[0, 0]
    if layout == "NHWC":
        array = array.transpose(0, 2, 3, 1)
    return array if ndim == 4 else array[0]


def order_of(x: np.ndarray, layout: str) -> str:
    """The memory order of images of `layout`; where both are true, `layout` decides."""
    x = to_nchw(x, layout)
    n, c, h, w = x.shape
    if layout == "NHWC" and (c == 1 or h * w == 1):
        return "nhwc"
    return memory_order(x)


def shape_to_nchw(shape: tuple[int, ...], layout: str) -> tuple[int, int, int, int]:
    """As `to_nchw`, of a shape."""
    if len(shape) == 2:
        return (1, 1, *shape)
    n, *image = shape if len(shape) == 4 else (1, *shape)
    c, h, w = (image[2], image[0], image[1]) if layout == "NHWC" else image
    return (n, c, h, w)


def shape_from_nchw(shape: tuple[int, int, int, int], ndim: int, layout: str) -> tuple[int, ...]:
    """As `from_nchw`, of a shape."""
    n, c, h, w = shape
    if ndim == 2:
        return (h, w)
    image = (h, w, c) if layout == "NHWC" else (c, h, w)
    return image if ndim == 3 else (n, *image)
