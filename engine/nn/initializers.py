"""First values of weights, scaled so that signals keep their size from layer to layer."""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np


def he(rng: np.random.Generator, shape, fan_in: int, fan_out: int) -> np.ndarray:
    """Normal, variance 2/fan_in: for layers followed by ReLU (He et al. 2015, section 2.2)."""
    return rng.standard_normal(shape) * math.sqrt(2 / fan_in)


def he_uniform(rng: np.random.Generator, shape, fan_in: int, fan_out: int) -> np.ndarray:
    """Uniform, of the variance of `he`."""
    limit = math.sqrt(6 / fan_in)
    return rng.uniform(-limit, limit, shape)


def glorot(rng: np.random.Generator, shape, fan_in: int, fan_out: int) -> np.ndarray:
    """Uniform, variance 2/(fan_in + fan_out) (Glorot and Bengio 2010, equation 16)."""
    limit = math.sqrt(6 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape)


def glorot_normal(rng: np.random.Generator, shape, fan_in: int, fan_out: int) -> np.ndarray:
    """Normal, of the variance of `glorot`."""
    return rng.standard_normal(shape) * math.sqrt(2 / (fan_in + fan_out))


RULES = {"he": he, "he_uniform": he_uniform, "glorot": glorot, "glorot_normal": glorot_normal}
NAMES = (None, *RULES)


drawing: ContextVar[bool] = ContextVar("drawing", default=True)


@contextmanager
def undrawn():
    """In the ``with`` block all weights of new models are 0, and cost neither time nor memory.

    For models whose weights are loaded next, or only counted.
    """
    token = drawing.set(False)
    try:
        yield
    finally:
        drawing.reset(token)


def draw(name: str | None, activation: str | None, rng: np.random.Generator,
         shape, fan_in: int, fan_out: int) -> np.ndarray:
    """Weights by the named rule; without a name, He's before a ReLU and Glorot's elsewhere."""
    if not drawing.get():
        return np.zeros(shape, np.float32)
    name = name or ("he" if activation in ("relu", "relu6") else "glorot")
    return RULES[name](rng, shape, fan_in, fan_out)
