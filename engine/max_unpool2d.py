"""The inverse of 2-D max-pooling as far as there is one, forward and backward."""

from __future__ import annotations

from dataclasses import replace

from engine import _check, _check_pool, _plan
from engine._axes import from_nchw, to_nchw
from engine._memory import empty_output


def max_unpool2d(x, indices, kernel_size, *, stride=None, padding=0, output_size=None,
                 layout="NCHW", out=None, backend=None):
    call, x_nchw, places = _check_pool.unpool("max_unpool2d", x, indices, kernel_size, stride,
                                              padding, output_size, layout, backend)
    p = call.problem
    if out is not None:
        _check.output("max_unpool2d", out, call.x_shape, p.dtype, x=x, indices=indices)
    plan = _plan.choose("unpool2d", p, "forward", None, call.backend)
    y = empty_output(p.x_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    plan(x_nchw, places, y)
    return from_nchw(y, call.ndim, layout) if out is None else out


def max_unpool2d_backward(dy, x, indices, kernel_size, *, stride=None, padding=0,
                          output_size=None, layout="NCHW", backend=None):
    op = "max_unpool2d_backward"
    call, x, places = _check_pool.unpool(op, x, indices, kernel_size, stride, padding, output_size,
                                         layout, backend)
    dy = _check.array(op, "dy", dy)
    _check.shaped(op, "dy", dy.shape, call.x_shape)
    dtype = _check.common_dtype(dy)
    call.problem = p = replace(call.problem, dtype=dtype)
    plan = _plan.choose("unpool2d", p, "backward", None, call.backend)
    dx = empty_output(p.y_shape, dtype, p.order)
    plan(to_nchw(_check.cast(dy, dtype), layout), places, dx)
    return from_nchw(dx, call.ndim, layout)
