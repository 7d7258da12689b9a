"""The arguments of pooling, checked and turned into a Call."""

from __future__ import annotations

from math import prod

import numpy as np

from engine import _check
from engine._axes import order_of, rank_of, shape_to_kernel, to_kernel
from engine._call import Call
from engine._problem import Axis, changed, pool_problem

EXTREMES = ("max", "min")
_IMAGE = {1: "line", 2: "plane", 3: "volume"}


def forward(op: str, kind: str, x, layout, backend, windows) -> tuple[Call, np.ndarray]:
    """The call, and x as an array; `windows` sets the geometry of the problem."""
    layout = _check.layout(op, layout)
    x = _check.images(op, "x", x, layout)
    return _pooling(op, kind, x.shape, _result_dtype(kind, x), x, layout, backend, windows), x


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
    call = _pooling(op, kind, shape, dtype, like, layout, backend, windows)
    _check.shaped(op, "dy", dy.shape, call.y_shape)
    if indices is not None:
        indices = _indices(call, indices, dy.shape)
    return call, dy, x, indices


def _pooling(op, kind, shape, dtype, like, layout, backend, windows) -> Call:
    """The pooling of an x of that shape, whose result has the memory order of `like`."""
    n, c, size = _sizes(op, shape, layout)
    axes, fields = windows.of(op, (n, c, *size), dtype)
    problem = pool_problem(kind, n, c, axes, dtype=dtype, order=order_of(like, layout), **fields)
    family = "pool3d" if len(size) == 3 else "pool2d"
    return _call(op, problem, len(shape), layout, backend, family)


def _sizes(op: str, shape, layout: str):
    """(n, c, the sizes of the spatial axes) of images of that shape."""
    n, c, *size = shape_to_kernel(shape, layout)
    return n, c, size[-rank_of(op):]


def places(call: Call, indices: np.ndarray, checked: bool = False) -> np.ndarray:
    """`indices` as kernels take them, each of which must lie in the plane (or volume).

    A kernel that reads them anyway can do the check: then they are `checked`.
    """
    result = _check.cast(to_kernel(indices, call.layout), np.dtype(np.int64))
    limit = prod(call.problem.x_shape[2:])
    if not checked and result.size and result.view(np.uint64).max() >= limit:  # or negative
        raise astray(call, indices)
    return result


def astray(call: Call, indices: np.ndarray) -> ValueError:
    """The error for indices outside the plane."""
    limit = prod(call.problem.x_shape[2:])
    return ValueError(f"{call.op}: `indices` lie between {indices.min()} and {indices.max()}, "
                      f"expected 0 to {limit - 1} (the {_IMAGE[call.rank]} has {limit} "
                      "elements)")


def _indices(call: Call, value, shape) -> np.ndarray:
    indices = _check.array(call.op, "indices", value)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{call.op}: `indices` has dtype {indices.dtype}, expected an integer "
                        "dtype")
    _check.shaped(call.op, "indices", indices.shape, shape)
    return indices


def _call(op: str, problem, ndim: int, layout: str, backend, family: str) -> Call:
    return Call(op, family, problem, ndim, layout, _check.backend(op, backend))


def _result_dtype(kind: str, *arrays: np.ndarray) -> np.dtype:
    """Means and norms of integers are float64, as numpy.mean's."""
    dtype = _check.common_dtype(*arrays)
    return dtype if kind in EXTREMES or _check.is_float(dtype) else np.dtype(np.float64)


# ---- unpooling ---------------------------------------------------------------------------------

def unpool(op: str, x, indices, kernel_size, stride, padding, output_size, layout, backend):
    """The call of the pooling to undo, and x (its result) and indices as arrays."""
    layout = _check.layout(op, layout)
    x = _check.images(op, "x", x, layout)
    n, c, small = _sizes(op, x.shape, layout)
    kernel = _check.sizes(op, "kernel_size", kernel_size, minimum=1)
    step = kernel if stride is None else _check.sizes(op, "stride", stride, minimum=1)
    pad = _check.sizes(op, "padding", padding)
    if output_size is None:
        image = [(size - 1) * s + k - 2 * p
                 for size, s, k, p in zip(small, step, kernel, pad, strict=True)]
    else:
        image = _check.sizes(op, "output_size", output_size, minimum=1)
    if min(image) < 1:
        raise ValueError(f"{op}: `padding` is {pad}, expected less (the result would be "
                         f"{' x '.join(map(str, image))})")
    dtype = _check.common_dtype(x)
    axes = [Axis(*each) for each in zip(image, small, kernel, step, pad, pad, strict=True)]
    problem = pool_problem("max", n, c, axes, dtype=dtype, order=order_of(x, layout))
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
    call.problem = changed(call.problem, dtype=_check.common_dtype(dy))
    return call, dy, indices
