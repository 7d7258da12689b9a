"""How arrays lie in memory: functions of shapes and strides, and ndarrays that are not read."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


class _Holder:
    """What NumPy makes an ndarray of."""

    def __init__(self, interface):
        self.__array_interface__ = interface


def at(address: int, shape, strides, dtype) -> np.ndarray:
    """An ndarray at an address of the device; strides in bytes.  Reading it is a wild read."""
    dtype = np.dtype(dtype)
    if 0 in shape:
        return np.empty(shape, dtype)
    plain = dtype if dtype.kind in "biufc" else np.dtype(f"u{dtype.itemsize}")
    return np.asarray(_Holder({"data": (address, False), "shape": tuple(shape), "version": 3,
                               "strides": tuple(strides), "typestr": plain.str})).view(dtype)


@lru_cache(maxsize=4096)
def contiguous(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides in the order of C."""
    return dense(shape, (0,) * len(shape), itemsize)


@lru_cache(maxsize=4096)
def dense(shape: tuple[int, ...], order: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides without gaps, with the axes in the order of the strides `order`."""
    strides, step = [0] * len(shape), itemsize
    for axis in sorted(reversed(range(len(shape))),
                       key=lambda axis: abs(order[axis]) if shape[axis] > 1 else 0):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def is_dense(array) -> bool:
    """Whether its elements fill their memory without gaps, in whatever order."""
    step = array.itemsize
    for stride, size in sorted(zip(array.strides, array.shape, strict=True)):
        if size > 1:
            if stride != step:
                return False
            step *= size
    return True


def flat_bytes(array: np.ndarray) -> np.ndarray:
    """The bytes of an array of the host that `is_dense`, in the order of memory."""
    order = np.argsort([-step for step in array.strides], kind="stable")
    return np.ascontiguousarray(array.transpose(order)).reshape(-1).view(np.uint8)


def merged(sizes, *strides) -> list[tuple[int, ...]]:
    """(size, stride of each array) of as few axes as walk them all in the same order."""
    found: list[tuple[int, ...]] = []
    for size, *steps in zip(sizes, *strides, strict=True):
        if size == 1:
            continue
        if found and all(outer == inner * size for outer, inner in
                         zip(found[-1][1:], steps, strict=True)):
            found[-1] = (found[-1][0] * size, *steps)
        else:
            found.append((size, *steps))
    return found


def reshaped(shape, size: int) -> tuple[int, ...]:
    """A new shape for so many elements, its -1 filled in."""
    given = (shape,) if np.ndim(shape) == 0 else tuple(int(each) for each in shape)
    others = math.prod(each for each in given if each != -1)
    whole = tuple(size // others if each == -1 and others else each for each in given)
    if given.count(-1) > 1 or math.prod(whole) != size:
        raise ValueError(f"cannot reshape array of size {size} into shape {given}")
    return whole


def viewed(shape, strides, new, itemsize: int) -> tuple[int, ...] | None:
    """The strides of an array in a new shape, or None where it would have to be copied.

    Axes of both shapes are taken together until they have the same number of elements; those of
    the old one must lie in one line.
    """
    if 0 in shape:
        return contiguous(new, itemsize)
    old = [each for each in zip(shape, strides, strict=True) if each[0] != 1]
    axes = [axis for axis, size in enumerate(new) if size != 1]
    steps = [itemsize] * len(new)
    i = j = 0
    while i < len(old):
        first_i, first_j = i, j
        size, wanted = old[i][0], new[axes[j]]
        i, j = i + 1, j + 1
        while size != wanted:
            if size < wanted:
                size, i = size * old[i][0], i + 1
            else:
                wanted, j = wanted * new[axes[j]], j + 1
        if any(outer[1] != inner[0] * inner[1] for outer, inner in
               zip(old[first_i : i - 1], old[first_i + 1 : i], strict=True)):
            return None
        step = old[i - 1][1]
        for axis in reversed(axes[first_j:j]):
            steps[axis] = step
            step *= new[axis]
    return tuple(steps)
