"""Activations: x of any shape -> y of the same shape."""

from __future__ import annotations

import numpy as np

from engine.nn.layer import Layer


class ReLU(Layer):
    """max(x, 0).  Conv2D and Dense have it built in: ``activation="relu"``."""

    def forward(self, x, training=False):
        y = np.maximum(x, 0)
        if training:
            self.keep(y)
        return y

    def backward(self, dy, need_dx=True):
        y, = self.kept()
        return dy * (y > 0)


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


def backward_of(activation: str, dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient before an activation that `engine.conv2d` has applied to give y."""
    if activation == "relu":
        return dy * (y > 0)
    if activation == "tanh":
        return dy * (1 - y * y)
    return dy * y * (1 - y)  # sigmoid


FUSED = (None, "relu", "tanh", "sigmoid")  # those with a gradient above


def sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1, small) / (1 + small)


def softmax(x: np.ndarray) -> np.ndarray:
    y = np.exp(x - x.max(axis=-1, keepdims=True))  # the largest exponent is 0: never overflows
    y /= y.sum(axis=-1, keepdims=True)
    return y
