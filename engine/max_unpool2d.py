"""The inverse of 2-D max-pooling as far as there is one, forward and backward."""

from __future__ import annotations

from engine import _check, _check_pool, _plan
from engine._axes import to_nchw
from engine._memory import empty_output


def max_unpool2d(x, indices, kernel_size, *, stride=None, padding=0, output_size=None,
                 layout="NCHW", out=None, backend=None):
    op = "max_unpool2d"
    call, x, indices = _check_pool.unpool(op, x, indices, kernel_size, stride, padding,
                                          output_size, layout, backend)
    p = call.problem  # of the pooling that is undone: its x is our y
    places = _check_pool.places(call, indices)
    if out is not None:
        _check.output(op, out, call.x_shape, p.dtype, x=x, indices=indices)
    y = empty_output(p.x_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    _plan.of(call, "forward")(call.to_kernel(x), places, y)
    return call.to_user(y) if out is None else out


def max_unpool2d_backward(dy, x, indices, kernel_size, *, stride=None, padding=0,
                          output_size=None, layout="NCHW", backend=None):
    op = "max_unpool2d_backward"
    call, dy, indices = _check_pool.unpool_backward(op, dy, x, indices, kernel_size, stride,
                                                    padding, output_size, layout, backend)
    p = call.problem
    dx = empty_output(p.y_shape, p.dtype, p.order)
    _plan.of(call, "backward")(call.to_kernel(dy), _check_pool.places(call, indices), dx)
    return call.to_user(dx)
