"""Augmentation: training images changed a little each time, so that fewer are learnt by heart.

Anything that takes a batch and a random generator and returns a batch of the same shape will do as
``fit(..., augment=...)``.
"""

from __future__ import annotations

import numpy as np

from engine.nn import _check


class RandomShift:
    """Moves each image up to `pixels` along both axes; what is left free becomes 0."""

    def __init__(self, pixels: int, layout: str = "NCHW"):
        self.pixels = _check.integer("RandomShift", "pixels", pixels)
        self.layout = _check.option("RandomShift", "layout", layout, ("NCHW", "NHWC"))

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        moved = np.zeros_like(x)
        axes = (0, 1, 2, 3) if self.layout == "NCHW" else (0, 3, 1, 2)
        shifts = rng.integers(-self.pixels, self.pixels, (len(x), 2), endpoint=True).tolist()
        for old, new, (down, right) in zip(x.transpose(axes), moved.transpose(axes), shifts,
                                           strict=True):
            new[:, _part(down), _part(right)] = old[:, _part(-down), _part(-right)]
        return moved


def _part(shift: int) -> slice:
    """The rows that still have a row `shift` before them (or -shift after them)."""
    return slice(shift, None) if shift > 0 else slice(None, shift or None)
