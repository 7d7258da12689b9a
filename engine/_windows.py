"""The windows of 2-D pooling, checked: which elements of a plane each result is made of."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Real
from typing import NamedTuple

import numpy as np

from engine import _check
from engine._problem import Pool2dProblem, output_size


class Sliding(NamedTuple):
    """Windows of one size at regular steps; the fields are what the user passed."""

    kernel_size: object
    stride: object
    padding: object
    dilation: object
    ceil_mode: object
    count_include_pad: object = True
    p: object = 2

    def of(self, op: str, plane: Pool2dProblem) -> Pool2dProblem:
        """The problem of these windows on that plane."""
        kernel = _check.sizes(op, "kernel_size", self.kernel_size, minimum=1)
        stride = kernel
        if self.stride is not None:
            stride = _check.sizes(op, "stride", self.stride, minimum=1)
        dilation = _check.sizes(op, "dilation", self.dilation, minimum=1)
        size = (plane.ih, plane.iw)
        pad = _check.pads(op, self.padding, size, kernel, stride, dilation)
        _check.fits(op, "kernel_size", size, pad, kernel, dilation)
        count = _count_ceil if _check.flag(op, "ceil_mode", self.ceil_mode) else output_size
        oh, ow = (count(n, *ends, *axis) for n, ends, *axis in zip(size, pad, kernel, stride,
                                                                   dilation, strict=True))
        (top, bottom), (left, right) = pad
        problem = replace(
            plane, oh=oh, ow=ow, kh=kernel[0], kw=kernel[1], stride_h=stride[0],
            stride_w=stride[1], pad_t=top, pad_b=bottom, pad_l=left, pad_r=right,
            dil_h=dilation[0], dil_w=dilation[1], p=_exponent(op, self.p),
            count_include_pad=_check.flag(op, "count_include_pad", self.count_include_pad))
        _check.addressable(op, "y", problem.y_shape, problem.dtype)
        for axis in zip(("height", "width"), size, (oh, ow), kernel, stride, (top, left), dilation,
                        strict=True):
            _hold_something(op, *axis)
        return problem


class Adaptive(NamedTuple):
    """As many windows as are asked for, spread over the plane."""

    output_size: object

    def of(self, op: str, plane: Pool2dProblem) -> Pool2dProblem:
        wanted = self.output_size
        if _check.is_sequence(wanted) and len(wanted) == 2:  # None: as many as x has there
            wanted = [size if each is None else each
                      for each, size in zip(wanted, (plane.ih, plane.iw), strict=True)]
        oh, ow = _check.sizes(op, "output_size", wanted, minimum=1)
        problem = replace(plane, oh=oh, ow=ow, kh=-(-plane.ih // oh), kw=-(-plane.iw // ow),
                          adaptive=True)
        _check.addressable(op, "y", problem.y_shape, problem.dtype)
        return problem


class Whole(NamedTuple):
    """One window, the whole plane."""

    p: object = 2

    def of(self, op: str, plane: Pool2dProblem) -> Pool2dProblem:
        return replace(plane, p=_exponent(op, self.p))


def _exponent(op: str, p) -> float:
    if isinstance(p, (bool, np.bool_)) or not isinstance(p, Real):
        raise TypeError(f"{op}: `p` is {_check.show(p)}, expected a number")
    if not 1 <= p < math.inf:
        raise ValueError(f"{op}: `p` is {p}, expected a finite number of at least 1")
    return float(p)


def _count_ceil(size, before, after, kernel, stride, dilation) -> int:
    """Number of windows, the last of which may hang over but must start before the end of x."""
    count = -(-(size + before + after - dilation * (kernel - 1) - 1) // stride) + 1
    return count - 1 if (count - 1) * stride >= size + before else count


def _hold_something(op, axis, size, out, kernel, stride, pad, dilation) -> None:
    """Every window must hold at least one element of x along that axis."""
    reach = dilation * (kernel - 1)
    starts = [*range(-pad, min(0, out * stride - pad), stride), (out - 1) * stride - pad]
    for start in starts:  # those in between start on an element
        first = start if start >= 0 else start - start // dilation * dilation
        if first >= size or first > start + reach:
            raise ValueError(
                f"{op}: `padding` leaves a window along the {axis} wholly outside x, expected "
                f"every window to hold an element of x (x has {size}, the window starts at "
                f"{start} and spans {reach + 1})")
