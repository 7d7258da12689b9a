"""Optimizers: from the gradients of a batch to new weights.

A model keeps all its weights in one vector and all gradients in another, so an optimizer is a few
lines over two vectors.  It walks them in pieces that stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.nn import _check
from engine.nn._typing import Rate

PIECE = 16384  # numbers: a few such pieces fit a core's own cache


class Optimizer:
    """Keeps vectors of `state` beside the weights and counts the steps.

    Parameters
    ----------
    lr : float or callable
        The learning rate, or a schedule: a function of the share of the training that is over.
    weight_decay : float
        Pulls every weight towards 0: this times the weight is added to its gradient.
    clip_norm : float, optional
        A longer vector of all gradients is shortened to this length (Pascanu et al. 2013,
        section 3.2).
    clip_value : float, optional
        Single gradients are limited to this size.

    Attributes
    ----------
    lr_factor : float
        The learning rate is multiplied by it; `ReduceOnPlateau` lowers it.
    """

    state_names: tuple[str, ...] = ()
    decoupled = False  # whether weight decay stays out of the gradient

    def __init__(self, lr: Rate, weight_decay: float = 0.0, clip_norm: float | None = None,
                 clip_value: float | None = None):
        who = type(self).__name__
        self.lr = lr if callable(lr) else _check.number(who, "lr", lr, 0)
        self.weight_decay = _check.number(who, "weight_decay", weight_decay, 0)
        self.clip_norm, self.clip_value = (
            None if value is None else _check.number(who, name, value, np.nextafter(0, 1))
            for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value)))
        self.lr_factor = 1.0
        self.state: dict[str, np.ndarray] = {}
        self.steps = 0
        self._weights = None

    def learning_rate(self, progress: float = 0.0) -> float:
        """The rate when that share of the training is over."""
        return float(self.lr(progress) if callable(self.lr) else self.lr) * self.lr_factor

    def attach(self, weights: np.ndarray) -> None:
        """Be the optimizer of these weights; of other ones than before it starts afresh."""
        if self._weights is not weights:
            self._weights, self.steps = weights, 0
            self.state = {name: np.zeros_like(weights) for name in self.state_names}

    def step(self, weights: np.ndarray, gradients: np.ndarray, progress: float = 0.0) -> None:
        """Change the weights in place; `progress` is the share of the training that is over."""
        self.attach(weights)
        self.steps += 1
        lr = self.learning_rate(progress)
        shrink = 1.0 if self.clip_norm is None else min(1.0, self.clip_norm / norm(gradients))
        for piece in _pieces(weights):
            w, g = weights[piece], gradients[piece]
            if shrink < 1:
                g = g * shrink
            if self.clip_value is not None:
                g = np.clip(g, -self.clip_value, self.clip_value)
            if self.weight_decay and self.decoupled:
                w *= 1 - lr * self.weight_decay
            elif self.weight_decay:
                g = g + self.weight_decay * w
            self.update(w, g, lr, *(vector[piece] for vector in self.state.values()))

    def update(self, w: np.ndarray, g: np.ndarray, lr: float, *state: np.ndarray) -> None:
        """One step of the weights `w`, in place, with their gradients and their pieces of state."""
        raise NotImplementedError(f"{type(self).__name__} has no update")


class SGD(Optimizer):
    """Stochastic gradient descent: v <- momentum*v + g;  w <- w - lr*v.

    With `nesterov` the weights move by g + momentum*v instead, which looks one step ahead
    (Sutskever et al. 2013, section 2).  `options` are those of `Optimizer`.
    """

    def __init__(self, lr: Rate = 0.01, *, momentum: float = 0.0, nesterov: bool = False,
                 **options: Any):
        super().__init__(lr, **options)
        self.momentum = _check.number("SGD", "momentum", momentum, 0, 1)
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: `momentum` is 0, expected more with nesterov=True")
        self.state_names = ("velocity",) if self.momentum else ()

    def update(self, w, g, lr, v=None):
        if v is not None:
            v *= self.momentum
            v += g
            g = g + self.momentum * v if self.nesterov else v
        w -= lr * g


class Adam(Optimizer):
    """Steps of about `lr` each, by running means of the gradient and of its square.

    `options` are those of `Optimizer`.  Source: Kingma and Ba 2015, algorithm 1.
    """

    state_names = ("mean", "square")

    def __init__(self, lr: Rate = 0.001, *, beta1: float = 0.9, beta2: float = 0.999,
                 eps: float = 1e-7, **options: Any):
        who = type(self).__name__
        super().__init__(lr, **options)
        self.beta1 = _check.number(who, "beta1", beta1, 0, 1)
        self.beta2 = _check.number(who, "beta2", beta2, 0, 1)
        self.eps = _check.number(who, "eps", eps, 0)

    def update(self, w, g, lr, m, v):
        m += (1 - self.beta1) * (g - m)
        v += (1 - self.beta2) * (g * g - v)
        # both means started at 0 and are too small by these factors
        mean, square = 1 - self.beta1**self.steps, 1 - self.beta2**self.steps
        w -= (lr / mean) * m / (np.sqrt(v) * (1 / math.sqrt(square)) + self.eps)


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights themselves, whatever the size of the gradients.

    Source: Loshchilov and Hutter 2019, algorithm 2, with their schedule in `lr`.
    """

    decoupled = True

    def __init__(self, lr: Rate = 0.001, *, weight_decay: float = 0.01, **options: Any):
        super().__init__(lr, weight_decay=weight_decay, **options)


class RMSprop(Optimizer):
    """Gradients divided by the root of a running mean of their squares.

    `centered` takes the running mean of the gradient off before squaring (Graves 2013, section
    2.4); with `momentum` the quotients drive a velocity, as in `SGD`.  `options` are those of
    `Optimizer`.  Source: Hinton, Srivastava and Swersky 2012, lecture 6e.
    """

    def __init__(self, lr: Rate = 0.001, *, rho: float = 0.9, momentum: float = 0.0,
                 eps: float = 1e-7, centered: bool = False, **options: Any):
        super().__init__(lr, **options)
        self.rho = _check.number("RMSprop", "rho", rho, 0, 1)
        self.momentum = _check.number("RMSprop", "momentum", momentum, 0, 1)
        self.eps = _check.number("RMSprop", "eps", eps, 0)
        self.centered = bool(centered)
        self.state_names = (("square",) + ("mean",) * self.centered
                            + ("velocity",) * bool(self.momentum))

    def update(self, w, g, lr, square, *others):
        square += (1 - self.rho) * (g * g - square)
        spread = square
        if self.centered:
            mean = others[0]
            mean += (1 - self.rho) * (g - mean)
            spread = np.maximum(square - mean * mean, 0)  # rounding may take it below
        g = g / (np.sqrt(spread) + self.eps)
        if self.momentum:
            v = others[-1]
            v *= self.momentum
            v += g
            g = v
        w -= lr * g


def norm(vector: np.ndarray) -> float:
    """Its length, summed in float64 in one order whatever the number of threads."""
    total = sum(float(np.square(vector[piece], dtype=np.float64).sum())
                for piece in _pieces(vector))
    return max(math.sqrt(total), np.finfo(np.float64).tiny)


def _pieces(vector) -> Iterator[slice]:
    """All of it; arrays that are not of the host, and so in no core's cache, as one."""
    step = PIECE if isinstance(vector, np.ndarray) else max(vector.size, 1)
    return (slice(start, start + step) for start in range(0, vector.size, step))
