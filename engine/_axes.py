"""Between the axes a user sees and those that kernels see; always views.

Kernels see images and channels first, (n, c, h, w) or (n, c, d, h, w).  One spatial axis is a plane
of height 1.
"""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from engine._problem import memory_order

LAYOUTS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}  # by spatial axes


@cache
def rank_of(op: str) -> int:
    """The number of spatial axes of an operation: it is in its name."""
    return next(int(letter) for letter in op if letter.isdigit())


def to_kernel(array: np.ndarray, layout: str) -> np.ndarray:
    """View an image or a batch of `layout`, or a bare one without channels, as kernels do."""
    rank = len(layout) - 2
    if array.ndim == rank:
        array = array[None, None]
    else:
        if array.ndim == rank + 1:
            array = array[None]
        if layout[-1] == "C":
            array = array.transpose(0, rank + 1, *range(1, rank + 1))
    return array if rank > 1 else array[:, :, None]


def to_user(array: np.ndarray, ndim: int, layout: str) -> np.ndarray:
    """Undo `to_kernel` for an array that is to have `ndim` axes."""
    rank = len(layout) - 2
    if rank == 1:
        array = array[:, :, 0]
    if ndim == rank:
        return array[0, 0]
    if layout[-1] == "C":
        array = array.transpose(0, *range(2, rank + 2), 1)
    return array if ndim == rank + 2 else array[0]


def order_of(x: np.ndarray, layout: str) -> str:
    """The memory order of images of `layout`; where both are true, `layout` decides."""
    x = to_kernel(x, layout)
    if layout[-1] == "C" and (x.shape[1] == 1 or prod(x.shape[2:]) == 1):
        return "nhwc"
    return memory_order(x)


def shape_to_kernel(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """As `to_kernel`, of a shape."""
    rank = len(layout) - 2
    if len(shape) == rank:
        n, c, size = 1, 1, shape
    else:
        n, *image = shape if len(shape) == rank + 2 else (1, *shape)
        c, size = (image[-1], image[:-1]) if layout[-1] == "C" else (image[0], image[1:])
    return (n, c, *size) if rank > 1 else (n, c, 1, *size)


def shape_to_user(shape: tuple[int, ...], ndim: int, layout: str) -> tuple[int, ...]:
    """As `to_user`, of a shape."""
    rank = len(layout) - 2
    n, c, *size = shape
    size = size[-rank:]
    if ndim == rank:
        return tuple(size)
    image = (*size, c) if layout[-1] == "C" else (c, *size)
    return image if ndim == rank + 1 else (n, *image)


# ---- filters: (out, in/groups, kh, kw) or (..., kd, kh, kw) for kernels -------------------------

def to_filters(weight: np.ndarray, rank: int) -> np.ndarray:
    """View a weight, or a bare one without channels, as kernels do."""
    if weight.ndim == rank:
        weight = weight[None, None]
    return weight if rank > 1 else weight[:, :, None]


def from_filters(weight: np.ndarray, ndim: int, rank: int) -> np.ndarray:
    """Undo `to_filters`; `ndim` is that of the images that the weight goes with."""
    if rank == 1:
        weight = weight[:, :, 0]
    return weight[0, 0] if ndim == rank else weight


def filters_shape(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """As `to_filters`, of a shape."""
    if len(shape) == rank:
        shape = (1, 1, *shape)
    return shape if rank > 1 else (*shape[:2], 1, *shape[2:])
