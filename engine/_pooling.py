"""What all pooling functions do: check, plan, run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine import _check, _check_pool, _plan
from engine._axes import from_nchw, to_nchw
from engine._check_pool import EXTREMES
from engine._memory import empty_output
from engine._problem import memory_order

INDEX = np.dtype(np.int64)


def forward(op, kind, x, windows, layout, backend, out=None, return_indices=False):
    """y, or (y, indices)."""
    call, x_nchw = _check_pool.forward(op, kind, x, layout, backend, windows)
    p = call.problem
    return_indices = _check.flag(op, "return_indices", return_indices)
    if out is not None:
        _check.output(op, out, call.y_shape, p.dtype, x=x)
    plan = _plan.choose("pool2d", p, "forward", None, call.backend)
    y = empty_output(p.y_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    indices = empty_output(p.y_shape, INDEX, memory_order(y)) if return_indices else None
    plan(x_nchw, y, indices)
    result = from_nchw(y, call.ndim, layout) if out is None else out
    return (result, from_nchw(indices, call.ndim, layout)) if return_indices else result


def backward(op, kind, dy, x, windows, layout, backend, indices=None):
    """The gradient with respect to x."""
    call, dy, x, indices = _check_pool.backward(op, kind, dy, x, layout, backend, windows, indices)
    p = call.problem
    if kind == "avg" or indices is not None:
        x = None  # the windows alone say where gradients go
    elif kind in EXTREMES and x.dtype != p.dtype:
        x, indices = None, _extremes(call, x)
    elif x is not None:
        x = _check.cast(x, p.dtype)
    plan = _plan.choose("pool2d", p, "backward", None, call.backend)
    dx = empty_output(p.x_shape, p.dtype, p.order)
    plan(dy, x, indices, dx)
    return from_nchw(dx, call.ndim, layout)


def _extremes(call, x):
    """Where the extremes of x are, found before a cast can make distinct values equal."""
    dtype = x.dtype.newbyteorder("=") if not x.dtype.isnative else x.dtype
    p = replace(call.problem, dtype=dtype)
    plan = _plan.choose("pool2d", p, "forward", None, call.backend)
    indices = np.empty(p.y_shape, INDEX)
    plan(_check.cast(x, dtype), np.empty(p.y_shape, dtype), indices)
    return indices
