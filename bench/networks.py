"""Whole networks as cases: inference, or one training step, with the same weights everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.nn import SGD, BatchNorm, Dropout, Sequential, models

# Of training: small enough for any number of steps on one batch.
LEARNING_RATE, MOMENTUM = 1e-4, 0.9
SMALL = {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32)}  # images; those of others are 3x224x224


@dataclass(frozen=True)
class NetworkCase:
    """A network of `engine.nn.models` on a batch of `n` images."""

    network: str
    n: int
    training: bool = False
    dtype: str = "float32"

    def model(self) -> Sequential:
        """The network, its weights the same in every process.

        Normalisations halve what they scale, or the sums of a ResNet would grow without bounds.
        Nothing is dropped out: results that depend on chance could not be compared.
        """
        model = models.MODELS[self.network](seed=0)
        for layer in model.walk():
            if isinstance(layer, BatchNorm):
                layer.params["weight"][...] = 0.5
            if isinstance(layer, Dropout):
                layer.rate = 0
        return model

    @property
    def tolerance(self) -> float:
        """Errors of float32 grow as gradients go back through normalisations: in ResNet-20 those of
        PyTorch reach 6e-3 of the largest, those of engine 1e-3."""
        return 2e-2 if self.training else 1e-4

    def optimizer(self) -> SGD:
        return SGD(LEARNING_RATE, momentum=MOMENTUM)

    def inputs(self) -> dict[str, np.ndarray]:
        """x, and the class of every image."""
        rng = np.random.default_rng(1)
        shape = (self.n, *SMALL.get(self.network, (3, 224, 224)))
        return {"x": rng.standard_normal(shape, np.float32),
                "target": rng.integers(10, size=self.n)}
