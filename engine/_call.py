"""A checked call: the problem, and how the arrays of the user map to those of the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from engine import _axes, _check
from engine._problem import Conv2dProblem, Conv3dProblem, Pool2dProblem, Pool3dProblem


@dataclass(slots=True)
class Call:
    op: str  # the public function
    family: str  # the kernels that do it: "conv2d", "pool2d" ...
    problem: Conv2dProblem | Conv3dProblem | Pool2dProblem | Pool3dProblem
    ndim: int  # of x, y and dy as the user has them
    layout: str
    backend: str | None
    algorithm: str | None = None
    pads: tuple | None = None  # conv: what x is padded with beforehand, other than zeros
    padding_mode: str = "constant"
    activation: str | None = None  # conv: what is left to apply after the kernel
    plans: dict = field(default_factory=dict)  # by direction
    ready: dict = field(default_factory=dict)  # those plans as they run fastest
    again: Callable | None = None  # the shortest way to repeat the call, where there is one
    y_strides: tuple[int, ...] | None = None  # of the outputs it makes

    def to_kernel(self, array: np.ndarray) -> np.ndarray:
        """x, y, dy with the axes of kernels, of a dtype and alignment that they can read."""
        return _check.cast(_axes.to_kernel(array, self.layout), self.problem.dtype)

    def to_user(self, array: np.ndarray) -> np.ndarray:
        return _axes.to_user(array, self.ndim, self.layout)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The user's shape of x: without what `pads` adds."""
        return _axes.shape_to_user(self.unpadded_shape, self.ndim, self.layout)

    @property
    def y_shape(self) -> tuple[int, ...]:
        return _axes.shape_to_user(self.problem.y_shape, self.ndim, self.layout)

    @property
    def unpadded_shape(self) -> tuple[int, ...]:
        n, c, *size = self.problem.x_shape
        for axis, ends in enumerate(reversed(self.pads or ()), 1):
            size[-axis] -= sum(ends)
        return (n, c, *size)

    # ---- convolution ------------------------------------------------------------------------

    def filters(self, weight: np.ndarray) -> np.ndarray:
        """weight as (out, in/groups, kh, kw) or (out, in/groups, kd, kh, kw)."""
        return _check.cast(_axes.to_filters(weight, self.rank), self.problem.dtype)

    def weight(self, filters: np.ndarray) -> np.ndarray:
        """Undo `filters`."""
        return _axes.from_filters(filters, self.ndim, self.rank)

    def vector(self, bias: np.ndarray | None) -> np.ndarray | None:
        """bias as a contiguous vector."""
        if bias is None:
            return None
        bias = _check.cast(bias, self.problem.dtype)
        return bias if bias.ndim and bias.flags.c_contiguous else np.ascontiguousarray(bias)

    @property
    def rank(self) -> int:
        return len(self.layout) - 2
