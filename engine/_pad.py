"""Padding that is not zeros: made by numpy.pad beforehand, and its adjoint for the backward."""

from __future__ import annotations

from math import prod

import numpy as np

from engine import _memory
from engine._problem import accumulator, empty, memory_order

MODES = ("constant", "reflect", "edge", "wrap")


def pad(x: np.ndarray, pads, mode: str) -> np.ndarray:
    """x with (before, after) elements added along its last axes, in the memory order of x."""
    axes = range(x.ndim - len(pads), x.ndim)
    shape = list(x.shape)
    for axis, ends in zip(axes, pads, strict=True):
        shape[axis] += sum(ends)
    _memory.check_workspace(prod(shape) * x.itemsize)
    taken = sources(x.shape, pads, mode)
    padded = empty(tuple(shape), x.dtype, memory_order(x))
    for image, wider in zip(x, padded, strict=True):
        for axis, source in zip(axes, taken, strict=True):
            image = image.take(source, axis - 1)
        wider[...] = image
    return padded


def pad_backward(dpadded: np.ndarray, pads, mode: str, dx: np.ndarray) -> None:
    """Write to dx the sum over all the places of the padded array that each element went to."""
    axes = range(dx.ndim - len(pads), dx.ndim)
    taken = sources(dx.shape, pads, mode)
    for image, folded in zip(dpadded, dx, strict=True):
        for axis, source in zip(axes, taken, strict=True):
            image = np.moveaxis(image, axis - 1, 0)
            narrow = np.zeros((dx.shape[axis], *image.shape[1:]), accumulator(dx.dtype))
            for i, place in enumerate(source):
                narrow[place] += image[i]
            image = np.moveaxis(narrow, 0, axis - 1)
        folded[...] = image.astype(dx.dtype)


def sources(shape, pads, mode: str) -> list[np.ndarray]:
    """Which element of x every element of the padded array repeats, along each axis."""
    sizes = shape[len(shape) - len(pads):]
    return [np.pad(np.arange(size), ends, mode) for size, ends in zip(sizes, pads, strict=True)]
