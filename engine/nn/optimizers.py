"""Optimizers: from the gradients of a batch to new weights.

A model keeps all its weights in one vector and all gradients in another, so an optimizer is a few
lines over two vectors.  It walks them in pieces that stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from engine.nn import _check

PIECE = 16384  # numbers: a few such pieces fit a core's own cache


class Optimizer:
    """Keeps vectors of `state` beside the weights and counts the steps."""

    state_names: tuple[str, ...] = ()

    def __init__(self, lr):
        who = type(self).__name__
        self.lr = lr if callable(lr) else _check.number(who, "lr", lr, 0)
        self.state: dict[str, np.ndarray] = {}
        self.steps = 0
        self._weights = None

    def step(self, weights: np.ndarray, gradients: np.ndarray, progress: float = 0.0) -> None:
        """Change the weights in place; `progress` is the share of the training that is over."""
        if self._weights is not weights:  # another model: start afresh
            self._weights, self.steps = weights, 0
            self.state = {name: np.zeros_like(weights) for name in self.state_names}
        self.steps += 1
        lr = self.lr(progress) if callable(self.lr) else self.lr
        for piece in _pieces(weights.size):
            self.update(weights[piece], gradients[piece], lr,
                        *(vector[piece] for vector in self.state.values()))

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, *state: np.ndarray) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """Stochastic gradient descent: v <- momentum*v + g;  w <- w - lr*v."""

    def __init__(self, lr=0.01, *, momentum=0.0):
        super().__init__(lr)
        self.momentum = _check.number("SGD", "momentum", momentum, 0, 1)
        self.state_names = ("velocity",) if self.momentum else ()

    def update(self, w, g, lr, v=None):
        if v is not None:
            v *= self.momentum
            v += g
            g = v
        w -= lr * g


class Adam(Optimizer):
    """Steps of about `lr` each, by running means of the gradient and of its square.

    Source: Kingma and Ba 2015, algorithm 1 in the more efficient order of section 2's end.
    """

    state_names = ("mean", "square")

    def __init__(self, lr=0.001, *, beta1=0.9, beta2=0.999, eps=1e-7):
        super().__init__(lr)
        self.beta1 = _check.number("Adam", "beta1", beta1, 0, 1)
        self.beta2 = _check.number("Adam", "beta2", beta2, 0, 1)
        self.eps = _check.number("Adam", "eps", eps, 0)

    def update(self, w, g, lr, m, v):
        m += (1 - self.beta1) * (g - m)
        v += (1 - self.beta2) * (g * g - v)
        bias = math.sqrt(1 - self.beta2**self.steps) / (1 - self.beta1**self.steps)
        w -= (lr * bias) * m / (np.sqrt(v) + self.eps)


def _pieces(size: int) -> Iterator[slice]:
    return (slice(start, start + PIECE) for start in range(0, size, PIECE))
