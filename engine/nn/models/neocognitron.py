"""The neocognitron, of 1980: the ancestor of all convolutional networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine._typing import Array, ArrayLike, DTypeLike
from engine.nn import _check
from engine.nn._typing import Layout
from engine.nn.cells import CCells, SCells
from engine.nn.dense import Flatten
from engine.nn.sequential import Sequential

BATCH = 100  # images whose responses are computed at once; they are learned one after the other


def neocognitron(cells: int = 500, *, layout: Layout = "NCHW", dtype: DTypeLike = "float32",
                 seed: int | None = None) -> Sequential:
    """Three pairs of S- and C-layers for 28x28 grey images; `cells` is how many outputs it has.

    Figure 2 of Fukushima 1980, with more planes and larger images.  A new one is silent, as
    nothing is drawn at random: `self_organize` trains it, without labels.  Afterwards each output
    stands for a kind of picture.
    """
    return Sequential([
        SCells(16, 5, padding=2, selectivity=2, name="S1"),
        CCells(5, stride=2, padding=2, alpha=0.1, name="C1"),
        SCells(64, 5, padding=2, selectivity=1, name="S2"),
        CCells(5, stride=2, padding=2, alpha=0.1, name="C2"),
        SCells(cells, 7, selectivity=0.5, name="S3"),
        CCells(1, alpha=0.1, name="C3"),
        Flatten(name="flatten"),
    ], input_shape=(1, 28, 28), layout=layout, dtype=dtype, seed=seed, name="neocognitron")


def self_organize(model: Sequential, x: ArrayLike, *,
                  selectivity: Sequence[float] = (4.0, 2.0, 2.0),
                  presentations: Sequence[int | None] = (500, 1000, None)) -> None:
    """Train a network of S- and C-cells on images `x`, which need no labels.

    Each layer of S-cells is finished before the next one begins (Fukushima 2003, section 3).

    Parameters
    ----------
    selectivity : sequence of float
        That of each layer of S-cells while it learns; higher than afterwards, so that a feature is
        still recognised when it looks a little different.
    presentations : sequence of int or None
        How many of the images, from the first on, each layer of S-cells sees; None is all.
    """
    x = _check.samples("self_organize", "x", x, model.input_shape)
    rest = iter(zip(selectivity, presentations, strict=True))
    for depth, layer in enumerate(model.layers):
        if isinstance(layer, SCells):
            each, count = next(rest)
            for start in range(0, len(x[:count]), BATCH):
                images = np.ascontiguousarray(x[:count][start:start + BATCH], model.dtype)
                layer.learn(model.forward(images, stop=depth), selectivity=each)


def name_cells(model: Sequential, x: ArrayLike, y: ArrayLike, classes: int = 10) -> Array:
    """The class that each output stands for: the one it wins most often, by labels `y` of `x`.

    The labels name what the cells have learned, and change none of their weights.
    """
    wins = np.zeros((model.output_shape[0], classes), np.int64)
    np.add.at(wins, (model.predict(x).argmax(axis=1), np.asarray(y)), 1)
    return wins.argmax(axis=1)
