"""Types of what the public functions take and give, by the names that their signatures use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from numpy.typing import ArrayLike, DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
Ints: TypeAlias = int | Sequence[int]
Padding: TypeAlias = int | str | Sequence[int] | Sequence[Sequence[int]]
PaddingMode: TypeAlias = Literal["constant", "reflect", "edge", "wrap"]
Activation: TypeAlias = Literal["relu", "relu6", "tanh", "sigmoid"]
Algorithm: TypeAlias = Literal["direct", "im2col", "winograd", "bf16x6"]
Backend: TypeAlias = Literal["c", "numba", "numpy", "cuda"]
Precision: TypeAlias = Literal["fp32", "fp32x3", "tf32", "bf16", "fp16"]
Layout1d: TypeAlias = Literal["NCL", "NLC"]
Layout2d: TypeAlias = Literal["NCHW", "NHWC"]
Layout3d: TypeAlias = Literal["NCDHW", "NDHWC"]
# a pair of arrays with return_indices=True, which Any lets pass: overloads would be three
# signatures for each function
Pooled: TypeAlias = Array | Any

__all__ = ["Activation", "Algorithm", "Array", "ArrayLike", "Backend", "DTypeLike", "Ints",
           "Layout1d", "Layout2d", "Layout3d", "Padding", "PaddingMode", "Pooled", "Precision"]
