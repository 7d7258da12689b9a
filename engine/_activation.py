"""Activations that no kernel fuses, applied to a result where it lies."""

from __future__ import annotations

import numpy as np


def apply(activation: str | None, y: np.ndarray) -> None:
    """Replace every image of y by its activation."""
    if activation is None:
        return
    function = {"relu": _relu, "relu6": _relu6, "tanh": _tanh, "sigmoid": _sigmoid}[activation]
    for image in y:
        if y.dtype.itemsize == 2 and y.dtype.kind not in "iu":  # 16-bit floats
            wide = image.astype(np.float32)
            function(wide)
            image[...] = wide.astype(y.dtype)
        else:
            function(image)


def _relu(y):
    np.maximum(y, 0, out=y)


def _relu6(y):
    np.clip(y, 0, 6, out=y)


def _tanh(y):
    np.tanh(y, out=y)


def _sigmoid(y):
    """1 / (1 + exp(-y)): where exp overflows the quotient is 0, as it should be."""
    with np.errstate(over="ignore"):
        np.negative(y, out=y)
        np.exp(y, out=y)
        np.add(y, 1, out=y)
        np.divide(1, y, out=y)
