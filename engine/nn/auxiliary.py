"""Auxiliary heads: classifiers half-way through a network, for its training only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.nn import _check, devices
from engine.nn.combine import Identity, as_layer
from engine.nn.layer import Layer


class Auxiliary(Identity):
    """Passes x on as it is; while training, layers of its own also try to classify it.

    `fit` adds `weight` times the loss of what they say to the loss of the model, so that a gradient
    reaches the first half of a deep network by a shorter way.  Prediction and evaluation, `compile`
    and the export to ONNX pass them over.

    Parameters
    ----------
    layers : Layer or list of Layer
        They end in logits, as many as the model has classes.
    weight : float

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", section 5.
    """

    output = dy = None

    def __init__(self, layers: Layer | Sequence[Layer], weight: float = 0.3, *,
                 name: str | None = None):
        super().__init__(name)
        self.layers = as_layer(self.title, "layers", layers, name="")
        self.weight = _check.number(self.title, "weight", weight, 0)

    @property
    def children(self):
        return (self.layers,)

    def build(self, input_shape, context):
        self.context, self.input_shape = context, tuple(input_shape)
        self.layers.build(self.input_shape, context)
        self.output_shape = self.input_shape
        return self.output_shape

    def forward(self, x, training=False):
        self.output = self.layers.forward(x, training) if training else None
        return x

    def extra_loss(self, loss, target) -> float:
        """The weighted loss of what the layers say; its gradient is kept for `backward`."""
        if self.output is None or len(self.output) == 0:  # it is frozen, or there are no samples
            return 0.0
        dy = self.group.scaled(loss.gradient(self.output, target))
        self.dy = self.output.dtype.type(self.weight) * dy
        return self.weight * loss.value(devices.to_host(self.output), target)

    def backward(self, dy, need_dx=True):
        own = np.zeros_like(self.output) if self.dy is None else self.dy
        self.output = self.dy = None
        dx = self.layers.backward(own, need_dx)
        return dy + dx if need_dx else None
