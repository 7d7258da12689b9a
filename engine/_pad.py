"""Padding that is not zeros: made by numpy.pad beforehand, and its adjoint for the backward."""

from __future__ import annotations

from math import prod

import numpy as np

from engine import _memory
from engine._problem import accumulator, empty, memory_order

MODES = ("constant", "reflect", "edge", "wrap")


def pad(x: np.ndarray, pads, mode: str) -> np.ndarray:
    """x (n, c, h, w) with (before, after) rows and columns added, in the memory order of x."""
    n, c, h, w = x.shape
    shape = (n, c, h + sum(pads[0]), w + sum(pads[1]))
    _memory.check_workspace(prod(shape) * x.itemsize)
    rows, columns = _sources(x.shape, pads, mode)
    padded = empty(shape, x.dtype, memory_order(x))
    for image, wider in zip(x, padded, strict=True):
        wider[...] = image[:, rows][:, :, columns]
    return padded


def pad_backward(dpadded: np.ndarray, pads, mode: str, dx: np.ndarray) -> None:
    """Write to dx the sum over all the places of the padded array that each element went to."""
    rows, columns = _sources(dx.shape, pads, mode)
    wide = accumulator(dx.dtype)
    n, c, h, w = dx.shape
    for image, folded in zip(dpadded, dx, strict=True):
        by_row = np.zeros((c, h, len(columns)), wide)
        for i, source in enumerate(rows):
            by_row[:, source] += image[:, i]
        both = np.zeros((c, h, w), wide)
        for j, source in enumerate(columns):
            both[:, :, source] += by_row[:, :, j]
        folded[...] = both.astype(dx.dtype)


def _sources(shape, pads, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Which row and which column of x every padded row and column repeats."""
    return tuple(np.pad(np.arange(size), ends, mode) for size, ends in zip(shape[2:], pads,
                                                                       strict=True))
