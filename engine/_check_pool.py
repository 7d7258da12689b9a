"""The arguments of 2-D pooling, checked and turned into a Pool2dProblem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine import _check
from engine._axes import order_of, shape_to_nchw, to_nchw
from engine._call import Call
from engine._problem import Pool2dProblem

EXTREMES = ("max", "min")


def forward(op: str, kind: str, x, layout, backend, windows) -> tuple[Call, np.ndarray]:
    """The call, and x as an array; `windows` sets the geometry of the problem."""
    layout = _check.layout(op, layout)
    x = _check.images(op, "x", x, layout)
    plane = _plane(kind, shape_to_nchw(x.shape, layout), _result_dtype(kind, x),
                   order_of(x, layout))
    return _call(op, windows.of(op, plane), x.ndim, layout, backend), x


def backward(op: str, kind: str, dy, x, indices, layout, backend, windows):
    """The call, and dy, x and indices as arrays; x is None where it was only a shape."""
    layout = _check.layout(op, layout)
    dy = _check.images(op, "dy", dy, layout)
    if _check.is_shape(x):
        if kind == "lp" or (kind in EXTREMES and indices is None):
            raise TypeError(f"{op}: `x` is a shape, expected an array"
                            + (" (or give `indices`)" if kind in EXTREMES else ""))
        shape = _check.image_shape(op, "x", x, dy.ndim)
        x, like, dtype = None, dy, _result_dtype(kind, dy)
    else:
        x = like = _check.images(op, "x", x, layout)
        _check.same_ndim(op, dy, x)
        shape, dtype = x.shape, _result_dtype(kind, dy, x)
    plane = _plane(kind, shape_to_nchw(shape, layout), dtype, order_of(like, layout))
    call = _call(op, windows.of(op, plane), dy.ndim, layout, backend)
    _check.shaped(op, "dy", dy.shape, call.y_shape)
    if indices is not None:
        indices = _indices(call, indices, dy.shape)
    return call, dy, x, indices


def places(call: Call, indices: np.ndarray) -> np.ndarray:
    """`indices` as (n, c, h, w) of int64, each of which must lie in the plane."""
    limit = call.problem.ih * call.problem.iw
    result = _check.cast(to_nchw(indices, call.layout), np.dtype(np.int64))
    if result.size and result.view(np.uint64).max() >= limit:  # a negative one is huge, too
        raise ValueError(f"{call.op}: `indices` lie between {indices.min()} and {indices.max()}, "
                         f"expected 0 to {limit - 1} (the plane has {limit} elements)")
    return result


def _indices(call: Call, value, shape) -> np.ndarray:
    indices = _check.array(call.op, "indices", value)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{call.op}: `indices` has dtype {indices.dtype}, expected an integer "
                        "dtype")
    _check.shaped(call.op, "indices", indices.shape, shape)
    return indices


def _call(op: str, problem, ndim: int, layout: str, backend, family: str = "pool2d") -> Call:
    return Call(op, family, problem, ndim, layout, _check.backend(op, backend))


def _result_dtype(kind: str, *arrays: np.ndarray) -> np.dtype:
    """Means and norms of integers are float64, as numpy.mean's."""
    dtype = _check.common_dtype(*arrays)
    return dtype if kind in EXTREMES or _check.is_float(dtype) else np.dtype(np.float64)


def _plane(kind: str, shape, dtype, order) -> Pool2dProblem:
    """The problem of that input, before it is known how large the windows are."""
    n, c, ih, iw = shape
    return Pool2dProblem(kind=kind, n=n, c=c, ih=ih, iw=iw, oh=1, ow=1, kh=ih, kw=iw, dtype=dtype,
                         order=order)


# ---- unpooling ---------------------------------------------------------------------------------

def unpool(op: str, x, indices, kernel_size, stride, padding, output_size, layout, backend):
    """The call of the pooling to undo, and x (its result) and indices as arrays."""
    layout = _check.layout(op, layout)
    x = _check.images(op, "x", x, layout)
    n, c, *small = shape_to_nchw(x.shape, layout)
    kernel = _check.sizes(op, "kernel_size", kernel_size, minimum=1)
    step = kernel if stride is None else _check.sizes(op, "stride", stride, minimum=1)
    pad = _check.sizes(op, "padding", padding)
    if output_size is None:
        plane = [(size - 1) * s + k - 2 * p
                 for size, s, k, p in zip(small, step, kernel, pad, strict=True)]
    else:
        plane = _check.sizes(op, "output_size", output_size, minimum=1)
    if min(plane) < 1:
        raise ValueError(f"{op}: `padding` is {pad}, expected less (the result would be "
                         f"{plane[0]} x {plane[1]})")
    dtype = _check.common_dtype(x)
    problem = Pool2dProblem(
        kind="max", n=n, c=c, ih=plane[0], iw=plane[1], oh=small[0], ow=small[1],
        kh=kernel[0], kw=kernel[1], stride_h=step[0], stride_w=step[1],
        pad_t=pad[0], pad_b=pad[0], pad_l=pad[1], pad_r=pad[1],
        dtype=dtype, order=order_of(x, layout))
    _check.addressable(op, "y", problem.x_shape, dtype)
    call = _call(op, problem, x.ndim, layout, backend, "unpool2d")
    return call, x, _indices(call, indices, x.shape)


def unpool_backward(op: str, dy, x, indices, kernel_size, stride, padding, output_size, layout,
                    backend):
    """The call, and dy and indices as arrays."""
    call, _, indices = unpool(op, x, indices, kernel_size, stride, padding, output_size, layout,
                              backend)
    dy = _check.array(op, "dy", dy)
    _check.shaped(op, "dy", dy.shape, call.x_shape)
    call.problem = replace(call.problem, dtype=_check.common_dtype(dy))
    return call, dy, indices
