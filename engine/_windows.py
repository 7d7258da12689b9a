"""The windows of pooling, checked: which elements of an image each result is made of.

Each kind of window has a method ``of(op, shape, dtype)``: what happens along every spatial axis of
an x of that shape, (n, c, ...), and the other fields of the problem.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple

import numpy as np

from engine import _check
from engine._problem import Axis, output_size


class Sliding(NamedTuple):
    """Windows of one size at regular steps; the fields are what the user passed."""

    kernel_size: object
    stride: object
    padding: object
    dilation: object
    ceil_mode: object
    count_include_pad: object = True
    p: object = 2

    def of(self, op: str, shape, dtype) -> tuple[list[Axis], dict]:
        kernel = _check.sizes(op, "kernel_size", self.kernel_size, minimum=1)
        stride = kernel
        if self.stride is not None:
            stride = _check.sizes(op, "stride", self.stride, minimum=1)
        dilation = _check.sizes(op, "dilation", self.dilation, minimum=1)
        size = shape[2:]
        pad = _check.pads(op, self.padding, size, kernel, stride, dilation)
        ceil_mode = _check.flag(op, "ceil_mode", self.ceil_mode)
        overhang = [s - 1 for s in stride] if ceil_mode else None
        _check.fits(op, "kernel_size", size, pad, kernel, dilation, overhang)
        count = _count_ceil if ceil_mode else output_size
        axes = [Axis(n, count(n, *ends, k, s, d), k, s, *ends, d) for n, ends, k, s, d in
                zip(size, pad, kernel, stride, dilation, strict=True)]
        flags = {"p": _exponent(op, self.p), "count_include_pad": _check.flag(
            op, "count_include_pad", self.count_include_pad)}
        _check.addressable(op, "y", (*shape[:2], *(axis.out for axis in axes)), dtype)
        for name, axis in zip(_check.AXES[len(axes)], axes, strict=True):
            _hold_something(op, name, axis)
        return axes, flags


class Adaptive(NamedTuple):
    """As many windows as are asked for, spread over the image."""

    output_size: object

    def of(self, op: str, shape, dtype) -> tuple[list[Axis], dict]:
        wanted, size = self.output_size, shape[2:]
        if _check.is_sequence(wanted) and len(wanted) == len(size):
            wanted = [n if each is None else each  # None: as many as x has there
                      for each, n in zip(wanted, size, strict=True)]
        out = _check.sizes(op, "output_size", wanted, minimum=1)
        _check.addressable(op, "y", (*shape[:2], *out), dtype)
        return [Axis(n, m, -(-n // m)) for n, m in zip(size, out, strict=True)], {"adaptive": True}


class Whole(NamedTuple):
    """One window, the whole image."""

    p: object = 2

    def of(self, op: str, shape, dtype) -> tuple[list[Axis], dict]:
        return [Axis(n, 1, n) for n in shape[2:]], {"p": _exponent(op, self.p)}


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


def _hold_something(op: str, name: str, axis: Axis) -> None:
    """Every window must hold at least one element of x along that axis."""
    size, out, kernel, stride, pad, _, dilation = axis
    reach = dilation * (kernel - 1)
    starts = [*range(-pad, min(0, out * stride - pad), stride), (out - 1) * stride - pad]
    for start in starts:  # those in between start on an element
        first = start if start >= 0 else start - start // dilation * dilation
        if first >= size or first > start + reach:
            raise ValueError(
                f"{op}: `padding` leaves a window along the {name} wholly outside x, expected "
                f"every window to hold an element of x (x has {size}, the window starts at "
                f"{start} and spans {reach + 1})")
