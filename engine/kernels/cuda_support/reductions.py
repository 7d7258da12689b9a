"""Sums, means and extremes of arrays of a device, with NumPy's dtypes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .reduction import AXES, LONG, MOST_SPLITS, THREADS, reduction
from .strides import contiguous, merged
from .ufuncs import DTYPES


def reduce(name, array, axis, dtype, keepdims):
    """The elements along the axes put together: "add", "maximum" or "minimum"."""
    if array.dtype.name not in DTYPES:
        raise TypeError(f"{name}: the array has dtype {array.dtype}, for which there is no CUDA "
                        "kernel")
    result = np.dtype(dtype) if dtype is not None else array.dtype
    if name == "add" and dtype is None and array.dtype.kind in "biu":
        result = np.dtype(np.uint64 if array.dtype.kind == "u" else np.int64)
    axes = _axes(axis, array.ndim)
    shape = tuple(1 if i in axes else size for i, size in enumerate(array.shape))
    if not keepdims:
        shape = tuple(size for i, size in enumerate(array.shape) if i not in axes)
    y = type(array).empty(array.device, shape, contiguous(shape, result.itemsize), result,
                          array.stream)
    if not y.size:
        return y
    if not array.size:
        if name != "add":
            raise ValueError(f"zero-size array to reduction operation {name} which has no identity")
        y[...] = 0
        return y
    device, stream = array.device, array.stream
    device.enter()
    carry_out(lambda kernel, grid, *args: device.launch(kernel, grid, args, stream),
              lambda nbytes: device.scratch(nbytes, stream), name, array.dtype.name, result.name,
              array.address, y.address, *walk(array.shape, array.strides, array.itemsize, axes))
    return y


def carry_out(launch, scratch, name, dtype, result, x, y, kept, reduced) -> None:
    """Put terms together; a long row of them by several blocks, then their results by one."""
    (results, kept_sizes, kept_steps), (terms, sizes, steps_of_terms) = kept, reduced
    steps = -(-terms // (min(MOST_SPLITS, -(-terms // LONG)) * THREADS))
    splits = -(-terms // (steps * THREADS))
    where = (*kept_sizes, *sizes, *kept_steps, *steps_of_terms)
    if splits == 1:
        launch(reduction(name, dtype, result, result), (results, 1, 1), x, y, steps, terms, 1,
               *where)
        return
    middle = {"float16": "float32", "bfloat16": "float32"}.get(result, result)
    part, memory = scratch(results * splits * np.dtype(middle).itemsize)
    launch(reduction(name, dtype, result, middle), (results, splits, 1), x, part, steps, terms,
           splits, *where)
    carry_out(launch, scratch, name, middle, result, part, y,
              (results, (1, results), (0, 0, splits)), (splits, (1, splits), (0, 0, 1)))
    del memory


def mean(array, axis, dtype, keepdims):
    """The sum over how many there are."""
    if dtype is None and array.dtype.kind in "biu":
        dtype = np.float64
    total = reduce("add", array, axis, dtype, keepdims)
    return total / total.dtype.type(array.size // max(total.size, 1))


def _axes(axis, ndim) -> frozenset[int]:
    if axis is None:
        return frozenset(range(ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    for each in given:
        if not -ndim <= each < ndim:
            raise ValueError(f"axis {each} is out of bounds for array of dimension {ndim}")
    return frozenset(each % ndim for each in given)


@lru_cache(maxsize=1024)
def walk(shape, strides, itemsize, axes):
    """Of the axes that are kept and of those that are not: (how many elements, sizes, strides)."""
    found = []
    for some in (sorted(set(range(len(shape))) - axes), sorted(axes)):
        count = math.prod(shape[axis] for axis in some)
        if count >= 1 << 31:
            raise ValueError(f"{count} elements are numbered, expected fewer than 2**31 (on CUDA)")
        walked = merged([shape[axis] for axis in some],
                        [strides[axis] // itemsize for axis in some])
        if len(walked) > AXES:
            raise ValueError(f"an array of shape {shape} takes {len(walked)} axes to walk, "
                             f"expected at most {AXES} (on CUDA)")
        sizes, steps = zip(*[(1, 0)] * (AXES - len(walked)), *walked, strict=True)
        found.append((count, sizes[1:], steps))
    return found
