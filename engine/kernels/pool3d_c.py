"""3-D pooling, forward and backward, by the 2-D kernels of the C library."""

from __future__ import annotations

from engine.kernels import pool2d_c
from engine.kernels.separable import Separable

_separable = Separable(pool2d_c)
refusal, forward, backward = _separable.refusal, _separable.forward, _separable.backward
