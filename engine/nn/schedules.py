"""Learning rates that fall while training: functions of the share of the training that is over.

>>> from engine.nn import Cosine
>>> rate = Cosine(0.1)
>>> rate(0.0), round(rate(0.5), 3), round(rate(1.0), 3)
(0.1, 0.05, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cosine:
    """From `lr` to `end` along half a cosine (Loshchilov and Hutter 2017, equation 5)."""

    lr: float
    end: float = 0.0

    def __call__(self, progress: float) -> float:
        return self.end + (self.lr - self.end) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class StepDecay:
    """`lr`, multiplied by `factor` whenever a share of the training named in `at` is over."""

    lr: float
    factor: float = 0.1
    at: tuple[float, ...] = (0.5, 0.75)

    def __call__(self, progress: float) -> float:
        return self.lr * self.factor ** sum(progress >= share for share in self.at)


@dataclass(frozen=True)
class Polynomial:
    """From `lr` to `end` in a straight line, or along the `power` of what is left to train."""

    lr: float
    end: float = 0.0
    power: float = 1.0

    def __call__(self, progress: float) -> float:
        return self.end + (self.lr - self.end) * (1 - progress) ** self.power


@dataclass(frozen=True)
class Exponential:
    """From `lr` to `end`, by the same factor in equal times."""

    lr: float
    end: float

    def __call__(self, progress: float) -> float:
        return self.lr * (self.end / self.lr) ** progress


@dataclass(frozen=True)
class Warmup:
    """Rises evenly from 0 in the first `share` of the training, and then follows `schedule`.

    Source: Goyal et al. 2017, section 2.2.
    """

    schedule: Callable[[float], float]
    share: float = 0.1

    def __call__(self, progress: float) -> float:
        if progress < self.share:
            return self.schedule(0.0) * progress / self.share
        return self.schedule((progress - self.share) / (1 - self.share))
