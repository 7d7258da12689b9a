"""Softmax of rows in NumPy."""

from __future__ import annotations

import numpy as np


def bind(x, y):
    """Softmax of these very arrays, (rows, columns), as a function without arguments."""
    of_row = np.empty((len(x), 1), x.dtype)

    def run():
        np.maximum.reduce(x, axis=-1, keepdims=True, out=of_row)
        np.subtract(x, of_row, out=y)
        np.exp(y, out=y)
        np.add.reduce(y, axis=-1, keepdims=True, out=of_row)
        np.divide(y, of_row, out=y)

    return run
