"""Flatten: x (N, ...) -> y (N, features).  Dense: x (N, features) -> y (N, out_features)."""

from __future__ import annotations

import math

import numpy as np

import engine
from engine._typing import Activation
from engine.nn import _check, activations, initializers
from engine.nn._typing import Init
from engine.nn.layer import Layer


class Flatten(Layer):
    """All numbers of a sample in one row."""

    def forward(self, x, training=False):
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, dy, need_dx=True):
        return dy.reshape(len(dy), *self.input_shape) if need_dx else None


class Dense(Layer):
    """Every output is a weighted sum of all inputs plus a bias: ``x @ weight.T + bias``.

    That is a 1x1 convolution of images of one pixel, whose channels are the features, and it is
    computed as that.

    Parameters
    ----------
    out_features : int
    bias : bool
    activation : {None, "relu", "relu6", "tanh", "sigmoid"}
        Applied to the output; "relu" and "relu6" within the same pass.
    init : {None, "he", "he_uniform", "glorot", "glorot_normal"}
        Rule for the first weights; None is "he" with ReLU, "glorot" without.
    """

    def __init__(self, out_features: int, *, bias: bool = True,
                 activation: Activation | None = None, init: Init | None = None,
                 name: str | None = None):
        super().__init__(name)
        self.out_features = _check.integer(self.title, "out_features", out_features)
        self.bias = bool(bias)
        self.activation = _check.option(self.title, "activation", activation, activations.FUSED)
        self.init = _check.option(self.title, "init", init, initializers.NAMES)

    def create(self, input_shape):
        _check.axes(self.title, input_shape, 1, "put a Flatten before it")
        shape = (self.out_features, input_shape[0])
        params = {"weight": initializers.draw(self.init, self.activation, self.context.rng, shape,
                                              fan_in=shape[1], fan_out=shape[0])}
        return params | ({"bias": np.zeros(self.out_features)} if self.bias else {})

    def forward(self, x, training=False):
        y = engine.conv2d(_as_pixels(x), _as_pixels(self.params["weight"]),
                          self.params.get("bias"), activation=self.activation)[:, :, 0, 0]
        if training:
            self.keep(x, y if self.activation else None)
        return y

    def backward(self, dy, need_dx=True):
        x, y = self.kept()
        if self.activation:
            dy = activations.backward_of(self.activation, dy, y)
        wanted = (["x"] if need_dx else []) + list(self.params)
        dx, dweight, dbias = engine.conv2d_backward(
            _as_pixels(dy), _as_pixels(x), _as_pixels(self.params["weight"]), wrt=wanted)
        self.set_grads(weight=dweight[:, :, 0, 0], **({"bias": dbias} if self.bias else {}))
        return dx[:, :, 0, 0] if need_dx else None


def _as_pixels(rows: np.ndarray) -> np.ndarray:
    return rows[:, :, None, None]
