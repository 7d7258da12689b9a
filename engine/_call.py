"""A checked call: the problem, and how the arrays of the user map to those of the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from engine import _check
from engine._axes import from_nchw, shape_from_nchw, to_nchw
from engine._problem import Conv2dProblem, Pool2dProblem


@dataclass(slots=True)
class Call:
    op: str  # the public function
    family: str  # the kernels that do it: "conv2d", "pool2d" ...
    problem: Conv2dProblem | Pool2dProblem
    ndim: int  # of x, y and dy as the user has them
    layout: str
    backend: str | None
    algorithm: str | None = None
    pads: tuple | None = None  # conv: what x is padded with beforehand, other than zeros
    padding_mode: str = "constant"
    activation: str | None = None  # conv: what is left to apply after the kernel
    plans: dict = field(default_factory=dict)  # by direction
    again: Callable | None = None  # the shortest way to repeat the call, where there is one
    y_strides: tuple[int, ...] | None = None  # of the outputs it makes

    def to_kernel(self, array: np.ndarray) -> np.ndarray:
        """x, y, dy as (n, c, h, w), of a dtype and alignment that kernels can read."""
        return _check.cast(to_nchw(array, self.layout), self.problem.dtype)

    def to_user(self, array: np.ndarray) -> np.ndarray:
        return from_nchw(array, self.ndim, self.layout)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The user's shape of x: without what `pads` adds."""
        return shape_from_nchw(self.unpadded_shape, self.ndim, self.layout)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return shape_from_nchw(self.problem.y_shape, self.ndim, self.layout)

    @property
    def unpadded_shape(self) -> tuple[int, int, int, int]:
        n, c, h, w = self.problem.x_shape
        (top, bottom), (left, right) = self.pads or ((0, 0), (0, 0))
        return (n, c, h - top - bottom, w - left - right)

    # ---- convolution ------------------------------------------------------------------------

    def filters(self, weight: np.ndarray) -> np.ndarray:
        """weight as (out, in/groups, kh, kw)."""
        return _check.cast(weight if self.ndim != 2 else weight[None, None], self.problem.dtype)

    def vector(self, bias: np.ndarray | None) -> np.ndarray | None:
        """bias as a contiguous vector."""
        if bias is None:
            return None
        bias = _check.cast(bias, self.problem.dtype)
        return bias if bias.ndim and bias.flags.c_contiguous else np.ascontiguousarray(bias)
