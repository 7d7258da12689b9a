"""Activations: x of any shape -> y of the same shape."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

import engine
from engine.nn import _check
from engine.nn.layer import Layer

ROOT_2_PI = math.sqrt(2 / math.pi)
_erfc = np.vectorize(math.erfc, otypes=[np.float64])  # NumPy has none


class ReLU(Layer):
    """max(x, 0).  Conv2D and Dense have it built in: ``activation="relu"``."""

    def forward(self, x, training=False):
        y = np.maximum(x, 0)
        if training:
            self.keep(y)
        return y

    def backward(self, dy, need_dx=True):
        y, = self.kept()  # None: the layer before has taken over
        return dy if y is None else engine.relu_backward(dy, y)


class ReLU6(Layer):
    """min(max(x, 0), 6), of MobileNet.  Conv2D and Dense have it built in."""

    def forward(self, x, training=False):
        y = np.clip(x, 0, 6)
        if training:
            self.keep(y)
        return y

    def backward(self, dy, need_dx=True):
        y, = self.kept()
        return dy * ((y > 0) & (y < 6))


class LeakyReLU(Layer):
    """x where that is positive, ``negative_slope * x`` elsewhere (Maas et al. 2013, section 2)."""

    def __init__(self, negative_slope: float = 0.01, *, name: str | None = None):
        super().__init__(name)
        self.negative_slope = _check.number(self.title, "negative_slope", negative_slope, 0)

    def forward(self, x, training=False):
        if training:
            self.keep(x)
        return np.where(x > 0, x, x * x.dtype.type(self.negative_slope))

    def backward(self, dy, need_dx=True):
        x, = self.kept()
        return np.where(x > 0, dy, dy * dy.dtype.type(self.negative_slope))


class GELU(Layer):
    """x * Phi(x), Phi the distribution function of the normal distribution.

    With ``approximate="tanh"`` Phi is replaced by a formula with tanh, several times faster.
    Source: Hendrycks and Gimpel 2016, section 2.
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none", *,
                 name: str | None = None):
        super().__init__(name)
        self.approximate = _check.option(self.title, "approximate", approximate, ("none", "tanh"))

    def forward(self, x, training=False):
        if training:
            self.keep(x)
        return x * self._phi(x)

    def backward(self, dy, need_dx=True):
        x, = self.kept()
        phi = self._phi(x)
        if self.approximate == "none":
            slope = np.exp(x * x * -0.5) * x.dtype.type(1 / math.sqrt(2 * math.pi))
        else:  # phi = (1 + tanh(u(x))) / 2, so its slope is 2 * phi * (1 - phi) * u'(x)
            slope = 2 * phi * (1 - phi) * (ROOT_2_PI * (1 + 3 * 0.044715 * x * x))
        return dy * (phi + x * slope)

    def _phi(self, x):
        if self.approximate == "tanh":
            return 0.5 * (1 + np.tanh(ROOT_2_PI * (x + 0.044715 * x * x * x)))
        return _erfc(x * -math.sqrt(0.5)).astype(x.dtype) * 0.5


class Tanh(Layer):
    """Between -1 and 1."""

    def forward(self, x, training=False):
        y = np.tanh(x)
        if training:
            self.keep(y)
        return y

    def backward(self, dy, need_dx=True):
        y, = self.kept()
        return dy * (1 - y * y)


class Sigmoid(Layer):
    """1 / (1 + exp(-x)), between 0 and 1: the probability of "yes"."""

    def forward(self, x, training=False):
        y = sigmoid(x)
        if training:
            self.keep(y)
        return y

    def backward(self, dy, need_dx=True):
        y, = self.kept()
        return dy * y * (1 - y)


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along the last axis: one probability for each class."""

    def forward(self, x, training=False):
        y = softmax(x)
        if training:
            self.keep(y)
        return y

    def backward(self, dy, need_dx=True):
        y, = self.kept()
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def forward_of(activation: str | None, x: np.ndarray) -> np.ndarray:
    """An activation by its name."""
    return x if activation is None else _BY_NAME[activation]().forward(x)


def backward_of(activation: str, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient before an activation that `engine.conv2d` has applied to give y."""
    if activation == "relu":
        return engine.relu_backward(dy, y)
    if activation == "relu6":
        return dy * ((y > 0) & (y < 6))
    if activation == "tanh":
        return dy * (1 - y * y)
    return dy * y * (1 - y)  # sigmoid


_BY_NAME = {"relu": ReLU, "relu6": ReLU6, "tanh": Tanh, "sigmoid": Sigmoid}
FUSED = (None, *_BY_NAME)  # those with a gradient above


def sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1, small) / (1 + small)


def softmax(x: np.ndarray) -> np.ndarray:
    y = np.exp(x - x.max(axis=-1, keepdims=True))  # the largest exponent is 0: never overflows
    y /= y.sum(axis=-1, keepdims=True)
    return y
