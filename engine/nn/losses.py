"""Losses: y_pred (N, K) and the targets -> one number, and its gradient in y_pred.

Each loss belongs to an activation: BinaryCrossEntropy to Sigmoid, CategoricalCrossEntropy to
Softmax.  If that is a model's last layer, training leaves it out and hands the loss the numbers
before it, the logits: log(softmax(z)) taken in one step neither overflows nor rounds to log(0),
and the gradient in z is simply (probability - target) / N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from engine._typing import Array, ArrayLike, DTypeLike
from engine.nn._typing import Shape
from engine.nn.activations import Sigmoid, Softmax, sigmoid, softmax


class Loss(Protocol):
    """What a loss has; `targets` checks the user's y and gives what the others take for it."""

    @property
    def from_logits(self) -> bool: ...

    activation: ClassVar[type]

    def value(self, y_pred: Array, target: Array) -> float: ...

    def gradient(self, y_pred: Array, target: Array) -> Array: ...

    def correct(self, y_pred: Array, target: Array) -> int: ...

    def targets(self, who: str, y: ArrayLike, output_shape: Shape, dtype: DTypeLike) -> Array: ...


@dataclass(frozen=True)
class CategoricalCrossEntropy:
    """Mean of -log(probability of the right class).

    Targets are class numbers (N,) or probabilities such as one-hot rows (N, K).
    """

    from_logits: bool = False  # whether y_pred are logits and not probabilities
    activation: ClassVar[type] = Softmax

    def value(self, y_pred, target) -> float:
        logs = _log_softmax(y_pred) if self.from_logits else _log(y_pred)
        if target.ndim == 1:
            return -float(logs[np.arange(len(logs)), target].mean(dtype=np.float64))
        return -float((logs * target).sum(dtype=np.float64)) / len(logs)

    def gradient(self, y_pred, target) -> np.ndarray:
        n, total = len(y_pred), 1
        if target.ndim == 2:
            total = target.sum(axis=1, keepdims=True)
        else:
            rows, target = target, np.zeros(y_pred.shape, y_pred.dtype)
            target[np.arange(n), rows] = 1
        if self.from_logits:
            return (softmax(y_pred) * total - target) / n
        return -target / np.maximum(y_pred, _tiny(y_pred)) / n

    def correct(self, y_pred, target) -> int:
        """How many samples have their largest output at the right class."""
        right = target if target.ndim == 1 else target.argmax(axis=1)
        return int((y_pred.argmax(axis=1) == right).sum())

    def targets(self, who: str, y, output_shape, dtype) -> np.ndarray:
        """The user's y, checked: class numbers as int64 or rows of probabilities."""
        y = np.asarray(y)
        classes, = _one_axis(who, output_shape)
        if y.ndim == 2 and y.shape[1] == classes and y.dtype.kind in "biuf":
            return y.astype(dtype)
        if y.ndim != 1 or y.dtype.kind not in "iu":
            raise ValueError(f"{who}: `y` has shape {y.shape} and dtype {y.dtype}, expected (N,) "
                             f"whole class numbers or (N, {classes}) probabilities")
        if y.size and not 0 <= y.min() <= y.max() < classes:
            bad = y.min() if y.min() < 0 else y.max()
            raise ValueError(f"{who}: `y` has class {bad}, expected 0 to {classes - 1}")
        return y.astype(np.int64)


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Mean of -log(probability of the right answer), each output a yes (1) or no (0).

    Targets are 0 or 1, or probabilities: (N,) for one output, (N, K) for K of them.
    """

    from_logits: bool = False
    activation: ClassVar[type] = Sigmoid

    def value(self, y_pred, target) -> float:
        if self.from_logits:
            each = np.maximum(y_pred, 0) - y_pred * target + np.log1p(np.exp(-np.abs(y_pred)))
        else:
            each = -(target * _log(y_pred) + (1 - target) * _log(1 - y_pred))
        return float(each.mean(dtype=np.float64))

    def gradient(self, y_pred, target) -> np.ndarray:
        if self.from_logits:
            return (sigmoid(y_pred) - target) / y_pred.size
        tiny = _tiny(y_pred)
        return ((1 - target) / np.maximum(1 - y_pred, tiny)
                - target / np.maximum(y_pred, tiny)) / y_pred.size

    def correct(self, y_pred, target) -> int:
        """How many samples have every output on the right side of one half."""
        yes = y_pred > (0 if self.from_logits else 0.5)
        return int((yes == (target > 0.5)).all(axis=1).sum())

    def targets(self, who: str, y, output_shape, dtype) -> np.ndarray:
        """The user's y, checked, as (N, K)."""
        y = np.asarray(y)
        outputs, = _one_axis(who, output_shape)
        if y.ndim == 1 and outputs == 1:
            y = y[:, None]
        if y.ndim != 2 or y.shape[1] != outputs or y.dtype.kind not in "biuf":
            raise ValueError(f"{who}: `y` has shape {y.shape} and dtype {y.dtype}, "
                             f"expected (N, {outputs}) numbers from 0 to 1")
        if y.size and not 0 <= y.min() <= y.max() <= 1:
            raise ValueError(f"{who}: `y` has values from {y.min()} to {y.max()}, expected 0 to 1")
        return y.astype(dtype)


def choose(who: str, loss, last_layer):
    """The loss to train with, and whether it takes over the model's last layer."""
    if loss is None:
        known = (CategoricalCrossEntropy, BinaryCrossEntropy)
        loss = next((kind() for kind in known if isinstance(last_layer, kind.activation)), None)
    if loss is None or isinstance(loss, (str, type)):
        raise TypeError(f"{who}: `loss` is {loss!r}, expected a loss such as "
                        "CategoricalCrossEntropy() (a model that ends in Softmax or Sigmoid "
                        "needs none)")
    takes_over = isinstance(last_layer, loss.activation)
    if takes_over and loss.from_logits:
        raise ValueError(f"{who}: `loss` has from_logits=True, expected False "
                         f"(the model ends in {type(last_layer).__name__})")
    return (replace(loss, from_logits=True), True) if takes_over else (loss, False)


def _log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(p, _tiny(p)))


def _tiny(p: np.ndarray):
    return np.finfo(p.dtype).tiny


def _one_axis(who: str, output_shape):
    if len(output_shape) != 1:
        raise ValueError(f"{who}: the model's output has shape {('N', *output_shape)}, "
                         "expected (N, K): end with Flatten or Dense".replace("'N'", "N"))
    return output_shape
