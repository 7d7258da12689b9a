"""Padding that is not zeros, of arrays on a device: slices copied, and their adjoint."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from engine._pad import sources
from engine._problem import accumulator


def pad(x, pads, mode: str):
    """x with (before, after) elements added along its last axes."""
    for axis, source in zip(_axes(x, pads), sources(x.shape, pads, mode), strict=True):
        wider = _empty(x, axis, len(source), x.dtype)
        for to, start in _runs(source):
            wider[_along(axis, to)] = x[_along(axis, start)]
        x = wider
    return x


def pad_backward(dpadded, pads, mode: str, dx) -> None:
    """Write to dx the sum over all the places of the padded array that each element went to."""
    for axis, source in zip(_axes(dx, pads), sources(dx.shape, pads, mode), strict=True):
        narrow = _empty(dpadded, axis, dx.shape[axis], accumulator(dx.dtype))
        narrow[...] = 0
        for to, start in _runs(source):
            target = narrow[_along(axis, start)]
            apart = target.shape[axis] == 1  # what goes to one element is added one by one
            for part in (slice(i, i + 1) for i in range(to.start, to.stop)) if apart else (to,):
                target += dpadded[_along(axis, part)]
        dpadded = narrow
    dx[...] = dpadded


def _axes(x, pads):
    return range(x.ndim - len(pads), x.ndim)


def _empty(x, axis, size, dtype):
    """Like x but along one axis, in its memory order."""
    shape = list(x.shape)
    shape[axis] = size
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    made = np.empty([shape[i] for i in order], dtype, like=x)
    return made.transpose(np.argsort(order).tolist())


def _runs(source: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """(places, elements) where neighbours repeat neighbours, either way, or one element."""
    start, steps = 0, np.diff(source)
    while start < len(source):
        stop = start + 1
        step = int(steps[start]) if start < len(steps) else 1
        if step in (-1, 0, 1):
            while stop < len(source) and steps[stop - 1] == step:
                stop += 1
        first, last = int(source[start]), int(source[stop - 1])
        if step == -1:
            yield slice(start, stop), slice(first, last - 1 if last else None, -1)
        else:
            yield slice(start, stop), slice(first, last + 1)
        start = stop


def _along(axis: int, part: slice):
    return (*(slice(None),) * axis, part)
