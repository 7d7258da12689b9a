"""What all pooling and unpooling functions do: check, plan, run."""

from __future__ import annotations

import numpy as np

from engine import _check, _check_pool, _device, _device_pooling, _plan, _recall
from engine._axes import to_kernel
from engine._check_pool import EXTREMES
from engine._memory import empty_output
from engine._problem import changed, memory_order

INDEX = np.dtype(np.int64)


def forward(op, kind, x, windows, layout, backend, out=None, return_indices=False):
    """y, or (y, indices)."""
    options = (*windows, layout, backend)
    key = _recall.key(op, (x,), options)
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(backend, x):
            return _device_pooling.pool(op, kind, x, windows, layout, backend, out, return_indices)
        call, x = _check_pool.forward(op, kind, x, layout, backend, windows)
        _recall.keep(key, call, options)
    p = call.problem
    if out is not None:
        _check.output(op, out, call.y_shape, p.dtype, x=x)
    return_indices = _check.flag(op, "return_indices", return_indices)
    y = empty_output(p.y_shape, p.dtype, p.order) if out is None else to_kernel(out, layout)
    indices = empty_output(p.y_shape, INDEX, memory_order(y)) if return_indices else None
    _plan.of(call, "forward")(call.to_kernel(x), y, indices)
    result = call.to_user(y) if out is None else out
    return (result, call.to_user(indices)) if return_indices else result


def backward(op, kind, dy, x, windows, layout, backend, indices=None):
    """The gradient with respect to x."""
    is_shape = _check.is_shape(x)
    options = (x if is_shape else None, *windows, layout, backend)
    key = _recall.key(op, (dy, None if is_shape else x, indices), options)
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(backend, dy, None if is_shape else x, indices):
            return _device_pooling.pool_backward(op, kind, dy, x, windows, layout, backend, indices)
        call, dy, x, indices = _check_pool.backward(op, kind, dy, x, indices, layout, backend,
                                                    windows)
        _recall.keep(key, call, options)
    p = call.problem
    plan = _plan.of(call, "backward")
    image = places = None  # avg: the windows alone say where gradients go
    if indices is not None:
        checks = getattr(getattr(plan, "module", None), "CHECKS_INDICES", False)
        places = _check_pool.places(call, indices, checks)
    elif kind in EXTREMES and x.dtype != p.dtype:
        places = _extremes(call, x)
    elif kind != "avg":
        image = call.to_kernel(x)
    dx = empty_output(p.x_shape, p.dtype, p.order)
    if plan(call.to_kernel(dy), image, places, dx) is False:
        raise _check_pool.astray(call, indices)
    return call.to_user(dx)


def _extremes(call, x):
    """Where the extremes of x are, found before a cast can make distinct values equal."""
    p = changed(call.problem, dtype=_check.common_dtype(x))
    places = np.empty(p.y_shape, INDEX)
    plan = _plan.choose(call.family, p, "forward", None, call.backend)
    plan(_check.cast(to_kernel(x, call.layout), p.dtype), np.empty(p.y_shape, p.dtype), places)
    return places


def unpool(op, x, indices, windows, layout, out, backend):
    """x at the indices of a result of that size; `windows` are (kernel, stride, padding, size)."""
    _on_host(op, backend, x=x, indices=indices)
    call, x, indices = _check_pool.unpool(op, x, indices, *windows, layout, backend)
    p = call.problem  # of the pooling that is undone: its x is our y
    places = _check_pool.places(call, indices)
    if out is not None:
        _check.output(op, out, call.x_shape, p.dtype, x=x, indices=indices)
    y = empty_output(p.x_shape, p.dtype, p.order) if out is None else to_kernel(out, layout)
    _plan.of(call, "forward")(call.to_kernel(x), places, y)
    return call.to_user(y) if out is None else out


def unpool_backward(op, dy, x, indices, windows, layout, backend):
    """dy at the indices."""
    _on_host(op, backend, dy=dy, x=x, indices=indices)
    call, dy, indices = _check_pool.unpool_backward(op, dy, x, indices, *windows, layout, backend)
    p = call.problem
    dx = empty_output(p.y_shape, p.dtype, p.order)
    _plan.of(call, "backward")(call.to_kernel(dy), _check_pool.places(call, indices), dx)
    return call.to_user(dx)


def _on_host(op, backend, **arrays):
    """Unpooling follows indices, which no CUDA kernel does."""
    for name, array in arrays.items():
        if _device.wanted(None, array):
            raise TypeError(f"{op}: `{name}` is a CUDA array, expected one of the host (there is "
                            "no cuda kernel for unpooling)")
    if _device.wanted(backend):
        raise ValueError(f'{op}: `backend` is "cuda", expected one of the host (there is no cuda '
                         "kernel for unpooling)")
