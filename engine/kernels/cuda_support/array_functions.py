"""NumPy's functions on arrays of a device that are not universal ones (NEP 18)."""

from __future__ import annotations

import math

import numpy as np

from . import ufuncs
from .strides import dense

FUNCTIONS = {}  # NumPy's function -> ours


def _stands_for(*functions):
    def register(function):
        FUNCTIONS.update(dict.fromkeys(functions, function))
        return function

    return register


@_stands_for(np.where)
def where(condition, x, y):
    return ufuncs.where(condition, x, y)


@_stands_for(np.clip)
def clip(a, a_min, a_max, out=None):
    return np.minimum(np.maximum(a, a_min), a_max, out=out)


@_stands_for(np.may_share_memory)
def may_share_memory(a, b):
    return ufuncs.overlap(a, b)


@_stands_for(np.concatenate)
def concatenate(arrays, axis=0):
    lead = next(each for each in arrays if hasattr(each, "address"))
    shapes = [np.shape(each) for each in arrays]
    shape = list(shapes[0])
    shape[axis] = sum(each[axis] for each in shapes)
    dtype = np.result_type(*(each.dtype for each in arrays))
    made = _empty(lead, shape, dtype, lead.strides)
    start = 0
    for each in arrays:
        stop = start + each.shape[axis]
        made[_along(axis, made.ndim, start, stop)] = each
        start = stop
    return made


@_stands_for(np.split)
def split(array, indices, axis=0):
    ends = [0, *(int(each) for each in indices), array.shape[axis]]
    return [array[_along(axis, array.ndim, start, stop)]
            for start, stop in zip(ends, ends[1:], strict=False)]


def _along(axis, ndim, start, stop):
    index = [slice(None)] * ndim
    index[axis] = slice(start, stop)
    return tuple(index)


# ---- new ones ------------------------------------------------------------------------------------

def _empty(lead, shape, dtype=None, order=None):
    shape = (shape,) if np.ndim(shape) == 0 else tuple(int(size) for size in shape)
    dtype = np.dtype(float if dtype is None else dtype)
    strides = dense(shape, tuple(order or (0,) * len(shape)), dtype.itemsize)
    return type(lead).empty(lead.device, shape, strides, dtype, lead.stream)


def _filled(value):
    def make(lead, shape, dtype=None):
        made = _empty(lead, shape, dtype)
        made[...] = value
        return made

    def make_like(array, dtype=None):
        made = _empty(array, array.shape, dtype or array.dtype, array.strides)
        made[...] = value
        return made

    return make, make_like


MAKERS = {np.empty: _empty}  # called with like=: the first argument is that array
MAKERS[np.zeros], FUNCTIONS[np.zeros_like] = _filled(0)
MAKERS[np.ones], FUNCTIONS[np.ones_like] = _filled(1)


@_stands_for(np.empty_like)
def empty_like(array, dtype=None):
    return _empty(array, array.shape, dtype or array.dtype, array.strides)


# ---- what is a method as well --------------------------------------------------------------------

for _name in ("sum", "mean", "max", "min", "all", "any", "reshape", "ravel", "transpose",
              "expand_dims", "broadcast_to", "copy"):
    FUNCTIONS[getattr(np, _name)] = (
        lambda array, *args, _name=_name, **kwargs: getattr(array, _name)(*args, **kwargs))
FUNCTIONS |= {np.shape: lambda array: array.shape, np.ndim: lambda array: array.ndim,
              np.size: lambda array: math.prod(array.shape)}
