"""Dropout: x of any shape -> y of the same shape."""

from __future__ import annotations

from engine.nn import _check
from engine.nn.layer import Layer


class Dropout(Layer):
    """While training, sets a share `rate` of the elements to 0 and enlarges the others to match.

    Source: Srivastava et al. 2014, in the "inverted" form, where nothing is left to do afterwards.
    """

    def __init__(self, rate: float = 0.5, *, name: str | None = None):
        super().__init__(name)
        self.rate = _check.number(self.title, "rate", rate, 0, 1)

    def create(self, input_shape):
        self.rng, = self.context.rng.spawn(1)
        return {}

    def forward(self, x, training=False):
        if not training or self.rate == 0:
            return x
        mask = (self.group.random(self.rng, x.shape, x.dtype) >= self.rate)
        mask = mask * x.dtype.type(1 / (1 - self.rate))
        self.keep(mask)
        return x * mask

    def backward(self, dy, need_dx=True):
        if self.rate == 0:
            return dy
        mask, = self.kept()
        return dy * mask
