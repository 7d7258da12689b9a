"""Networks by `engine.nn`: compiled for inference, or trained as `fit` trains."""

from __future__ import annotations

import numpy as np

from bench.networks import NetworkCase
from bench.peers.ours import ran, start, version  # noqa: F401
from engine import nn
from engine.nn import training


def prepare(case: NetworkCase, variant: str, inputs: dict[str, np.ndarray]):
    model = case.model()
    if not case.training:
        compiled = nn.compile(model, case.n, order=variant.upper())
        return lambda: compiled(inputs["x"])
    loss, optimizer = nn.CategoricalCrossEntropy(from_logits=True), case.optimizer()
    _, first = next(model.parameters())
    gradient = model.gradients[:first.size].reshape(first.shape)

    def step():
        value, _, count = training.train_on(model, inputs["x"], inputs["target"], loss, stop=-1)
        optimizer.step(model.weights, model.gradients)
        return np.float32(value / count), gradient

    return step


def arrays(result) -> list[np.ndarray]:
    return list(result) if isinstance(result, tuple) else [result]
