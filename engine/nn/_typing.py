"""Types of what the public names of `engine.nn` take, by the names that their signatures use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from engine._typing import Array, ArrayLike

Augmentation: TypeAlias = Callable[[Array, np.random.Generator], Array]
Init: TypeAlias = Literal["he", "he_uniform", "glorot", "glorot_normal"]
Layout: TypeAlias = Literal["NCHW", "NHWC"]
Path: TypeAlias = str | os.PathLike[str]
Rate: TypeAlias = float | Callable[[float], float]  # a number or a schedule
Shape: TypeAlias = Sequence[int]
Samples: TypeAlias = ArrayLike | Iterable[Any]  # an array, an ImageFolder, or batches one by one
