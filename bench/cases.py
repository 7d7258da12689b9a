"""What is timed: one direction of one problem, its inputs, and the least work it takes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np

from bench.layers import Layer
from engine._problem import Conv2dProblem, Pool2dProblem, named_dtype, output_size

CONV_OPS = ("forward", "backward_data", "backward_weight")
POOL_OPS = ("max", "max_index", "max_backward", "avg", "avg_backward")
# Largest difference between results, relative to the largest value.
TOLERANCE = {"float64": 1e-11, "float32": 1e-4, "float16": 1e-2, "bfloat16": 4e-2}
INDEX_BYTES = 8  # positions of maxima are int64 here and in PyTorch


@dataclass(frozen=True)
class Case:
    layer: str
    op: str  # one of CONV_OPS or POOL_OPS
    problem: Conv2dProblem | Pool2dProblem

    def __str__(self) -> str:
        return f"{self.op} {self.problem}"

    @property
    def dtype(self) -> str:
        return self.problem.dtype.name

    @property
    def tolerance(self) -> float:
        return TOLERANCE[self.dtype]

    @property
    def flops(self) -> int:
        """Operations a direct sum takes; 0 where memory is all that counts (pooling)."""
        return self.problem.flops if self.op in CONV_OPS else 0

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes read and bytes written, every input and output touched once."""
        p = self.problem
        x, y = prod(p.x_shape), prod(p.y_shape)
        size = p.dtype.itemsize
        if self.op in POOL_OPS:
            index = INDEX_BYTES * y * (self.op in ("max_index", "max_backward"))
            if self.op.endswith("backward"):
                return size * y + index, size * x
            return size * x, size * y + index
        weight = prod(p.weight_shape)
        read, written = {"forward": (x + weight, y), "backward_data": (y + weight, x),
                         "backward_weight": (x + y, weight)}[self.op]
        return size * read, size * written

    def inputs(self) -> dict[str, np.ndarray]:
        """x, dy and (convolutions) weight, plain NCHW, the same in every process."""
        p = self.problem
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        shapes = {"x": p.x_shape, "dy": p.y_shape}
        if self.op in CONV_OPS:
            shapes["weight"] = p.weight_shape
        draw = np.float64 if p.dtype == np.float64 else np.float32
        return {name: (rng.random(shape, draw) - draw(0.5)).astype(p.dtype, copy=False)
                for name, shape in shapes.items()}


def cases(layers: Iterable[Layer], ops: Iterable[str], batches: Iterable[int],
          dtype: str) -> list[Case]:
    """Every case of those layers, grouped by operation; a pooling takes N from its own line."""
    layers, batches = list(layers), list(batches)
    dtype = named_dtype(dtype)
    found = []
    for op in ops:
        for n in batches if op in CONV_OPS else (None,):
            found += [_case(layer, op, n, dtype) for layer in layers
                      if layer.is_pool == (op in POOL_OPS)]
    return found


def _case(layer: Layer, op: str, n: int | None, dtype: np.dtype) -> Case:
    if op in CONV_OPS:
        return Case(layer.name, op, Conv2dProblem.parse(layer.text, n=n, dtype=dtype))
    return Case(layer.name, op, Pool2dProblem.parse(layer.text, kind=op[:3], dtype=dtype))


def in_order(array: np.ndarray, order: str) -> np.ndarray:
    """The same values with memory in ``order``; the axes stay NCHW."""
    if order == "nhwc":
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(array)


def symmetric_padding(problem: Conv2dProblem | Pool2dProblem) -> tuple[int, int]:
    """Padding as peers take it, the same on both sides.

    A problem keeps only the trailing padding that a window touches, so a smaller one is no
    asymmetry as long as the floor rule gives the same output.
    """
    p = problem
    if isinstance(p, Conv2dProblem) and _symmetric_size(p) != (p.oh, p.ow):
        raise ValueError(f"{problem}: peers know no asymmetric padding")
    return p.pad_t, p.pad_l


def ceil_mode(problem: Pool2dProblem) -> bool:
    """Whether a last window hangs over the end, as only the ceil rule allows."""
    return _symmetric_size(problem) != (problem.oh, problem.ow)


def _symmetric_size(p: Conv2dProblem | Pool2dProblem) -> tuple[int, int]:
    return (output_size(p.ih, p.pad_t, p.pad_t, p.kh, p.stride_h, p.dil_h),
            output_size(p.iw, p.pad_l, p.pad_l, p.kw, p.stride_w, p.dil_w))
