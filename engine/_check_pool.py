"""The arguments of 2-D pooling, checked and turned into a Pool2dProblem."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, replace

import numpy as np

from engine import _check
from engine._axes import order_of, shape_from_nchw, shape_to_nchw
from engine._problem import Pool2dProblem, output_size

EXTREMES = ("max", "min")


@dataclass(slots=True)
class Pool2d:
    """A checked call: the problem, and how the user counts its axes."""

    op: str
    problem: Pool2dProblem
    ndim: int
    layout: str
    backend: str | None

    @property
    def y_shape(self) -> tuple[int, ...]:
        return shape_from_nchw(self.problem.y_shape, self.ndim, self.layout)

    @property
    def x_shape(self) -> tuple[int, ...]:
        return shape_from_nchw(self.problem.x_shape, self.ndim, self.layout)


def forward(op: str, kind: str, x, layout, backend, windows) -> tuple[Pool2d, np.ndarray]:
    """The call and x as (n, c, h, w); `windows` sets the geometry of the problem."""
    layout = _check.layout_name(op, layout)
    x, ndim = _check.images(op, "x", x, layout)
    dtype = _result_dtype(kind, x)
    problem = windows(op, _plane(kind, x.shape, dtype, order_of(x, layout)))
    call = Pool2d(op, problem, ndim, layout, _check.backend(op, backend))
    return call, _check.cast(x, dtype)


def backward(op: str, kind: str, dy, x, layout, backend, windows, indices=None):
    """The call and its arrays (call, dy, x, indices); x is None where its shape was enough."""
    layout = _check.layout_name(op, layout)
    dy, ndim = _check.images(op, "dy", dy, layout)
    if _check.is_shape(x):
        if kind == "lp" or (kind in EXTREMES and indices is None):
            raise TypeError(f"{op}: `x` is a shape, expected an array"
                            + (" (or give `indices`)" if kind in EXTREMES else ""))
        shape = shape_to_nchw(_check.image_shape(op, "x", x, layout, ndim), layout)
        x, like, dtype = None, dy, _result_dtype(kind, dy)
    else:
        x, x_ndim = _check.images(op, "x", x, layout)
        _check.same_ndim(op, ndim, x_ndim)
        shape, like, dtype = x.shape, x, _result_dtype(kind, dy, x)
    problem = windows(op, _plane(kind, shape, dtype, order_of(like, layout)))
    call = Pool2d(op, problem, ndim, layout, _check.backend(op, backend))
    _check.shaped(op, "dy", shape_from_nchw(dy.shape, ndim, layout), call.y_shape)
    if indices is not None:
        indices = plane_indices(op, indices, dy.shape, ndim, layout, shape[2] * shape[3])
    return call, _check.cast(dy, dtype), x, indices


def plane_indices(op: str, value, shape, ndim: int, layout: str, limit: int) -> np.ndarray:
    """`indices` as int64 of that (n, c, h, w) shape, each a place in a plane of `limit`."""
    indices = _check.array(op, "indices", value)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{op}: `indices` has dtype {indices.dtype}, expected an integer dtype")
    _check.shaped(op, "indices", indices.shape, shape_from_nchw(shape, ndim, layout))
    if indices.size and not 0 <= indices.min() <= indices.max() < limit:
        raise ValueError(f"{op}: `indices` lie between {indices.min()} and {indices.max()}, "
                         f"expected 0 to {limit - 1} (the plane has {limit} elements)")
    return _check.cast(_check.to_nchw(indices, layout), np.dtype(np.int64))


def _result_dtype(kind: str, *arrays: np.ndarray) -> np.dtype:
    """Means and norms of integers are float64, as numpy.mean's."""
    dtype = _check.common_dtype(*arrays)
    return dtype if kind in EXTREMES or _check.is_float(dtype) else np.dtype(np.float64)


def _plane(kind: str, shape, dtype, order) -> Pool2dProblem:
    """The problem of that input, before it is known how large the windows are."""
    n, c, ih, iw = shape
    return Pool2dProblem(kind=kind, n=n, c=c, ih=ih, iw=iw, oh=1, ow=1, kh=ih, kw=iw, dtype=dtype,
                         order=order)


# ---- windows -----------------------------------------------------------------------------------

def sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad=True, p=2):
    """Windows of one size at regular steps."""

    def windows(op: str, plane: Pool2dProblem) -> Pool2dProblem:
        kernel = _check.sizes(op, "kernel_size", kernel_size, minimum=1)
        step = kernel if stride is None else _check.sizes(op, "stride", stride, minimum=1)
        spread = _check.sizes(op, "dilation", dilation, minimum=1)
        size = (plane.ih, plane.iw)
        pad = _check.pads(op, padding, size, kernel, step, spread)
        _check.fits(op, "kernel_size", size, pad, kernel, spread)
        count = _count_ceil if _check.flag(op, "ceil_mode", ceil_mode) else output_size
        before, after = zip(*pad, strict=True)
        oh, ow = (count(*axis) for axis in zip(size, before, after, kernel, step, spread,
                                               strict=True))
        problem = replace(
            plane, oh=oh, ow=ow, kh=kernel[0], kw=kernel[1], stride_h=step[0], stride_w=step[1],
            pad_t=before[0], pad_l=before[1], pad_b=after[0], pad_r=after[1],
            dil_h=spread[0], dil_w=spread[1], p=exponent(op, p),
            count_include_pad=_check.flag(op, "count_include_pad", count_include_pad))
        _check.addressable(op, "y", problem.y_shape, problem.dtype)
        _check_real(op, problem)
        return problem

    return windows


def adaptive(output_size):
    """As many windows as are asked for, spread over the plane."""

    def windows(op: str, plane: Pool2dProblem) -> Pool2dProblem:
        wanted = output_size
        if _check.is_sequence(wanted) and len(wanted) == 2:  # None: as many as x has there
            wanted = [size if each is None else each
                      for each, size in zip(wanted, (plane.ih, plane.iw), strict=True)]
        oh, ow = _check.sizes(op, "output_size", wanted, minimum=1)
        problem = replace(plane, oh=oh, ow=ow, kh=-(-plane.ih // oh), kw=-(-plane.iw // ow),
                          adaptive=True)
        _check.addressable(op, "y", problem.y_shape, problem.dtype)
        return problem

    return windows


def whole(p=2):
    """One window, the whole plane."""
    return lambda op, plane: replace(plane, p=exponent(op, p))


def exponent(op: str, p) -> float:
    if isinstance(p, (bool, np.bool_)) or not isinstance(p, numbers.Real):
        raise TypeError(f"{op}: `p` is {_check.show(p)}, expected a number")
    if not 1 <= p < math.inf:
        raise ValueError(f"{op}: `p` is {p}, expected a finite number of at least 1")
    return float(p)


def _count_ceil(size, before, after, kernel, stride, dilation) -> int:
    """Number of windows, the last of which may hang over but must start before the end of x."""
    count = -(-(size + before + after - dilation * (kernel - 1) - 1) // stride) + 1
    return count - 1 if (count - 1) * stride >= size + before else count


def _check_real(op: str, problem: Pool2dProblem) -> None:
    """Every window must hold at least one element of x."""
    q = problem
    for axis, size, out, kernel, stride, pad, dilation in (
            ("height", q.ih, q.oh, q.kh, q.stride_h, q.pad_t, q.dil_h),
            ("width", q.iw, q.ow, q.kw, q.stride_w, q.pad_l, q.dil_w)):
        starts = [*range(-pad, min(0, out * stride - pad), stride), (out - 1) * stride - pad]
        for start in starts:  # those in between start on an element of x
            first_real = start if start >= 0 else start - start // dilation * dilation
            if first_real >= size or first_real > start + dilation * (kernel - 1):
                raise ValueError(
                    f"{op}: `padding` leaves a window along the {axis} wholly outside x, expected "
                    f"every window to hold an element of x (x has {size}, the window starts at "
                    f"{start} and spans {dilation * (kernel - 1) + 1})")


# ---- unpooling ---------------------------------------------------------------------------------

def unpool(op: str, x, indices, kernel_size, stride, padding, output_size, layout, backend):
    """The call of the pooling to undo, x (its result) and indices as (n, c, h, w)."""
    layout = _check.layout_name(op, layout)
    x, ndim = _check.images(op, "x", x, layout)
    n, c, *small = x.shape
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
    call = Pool2d(op, problem, ndim, layout, _check.backend(op, backend))
    indices = plane_indices(op, indices, x.shape, ndim, layout, plane[0] * plane[1])
    return call, _check.cast(x, dtype), indices
