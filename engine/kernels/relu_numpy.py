"""The gradient of max(x, 0) in NumPy: the contract that other backends keep."""

from __future__ import annotations

import numpy as np


def refusal(problem, direction):
    return None


def backward(problem, dy, y, dx):
    """dx may be dy."""
    dx[...] = np.where(y > 0, dy, problem.dtype.type(0))
