"""SqueezeNet, of 2016: AlexNet's accuracy with a fiftieth of its parameters."""

from __future__ import annotations

from typing import Any

from engine.nn.activations import Softmax
from engine.nn.combine import Concatenate
from engine.nn.conv import Conv2D
from engine.nn.dense import Flatten
from engine.nn.dropout import Dropout
from engine.nn.models.parts import group, network, numbered
from engine.nn.pool import GlobalAvgPool2D, MaxPool2D
from engine.nn.sequential import Sequential


def squeezenet1_0(classes: int = 1000, *, input_size: int = 224, last_padding: int = 0,
                  **options: Any) -> Sequential:
    """SqueezeNet 1.0, 1,248,424 parameters.  Source: Iandola et al. 2016, table 1.

    `last_padding` is that of the last convolution: torchvision has 0, the authors' file 1.
    """
    return _squeezenet("squeezenet1_0", [
        Conv2D(96, 7, stride=2, activation="relu"), None, _pool(),
        fire(16, 64), fire(16, 64), fire(32, 128), _pool(),
        fire(32, 128), fire(48, 192), fire(48, 192), fire(64, 256), _pool(),
        fire(64, 256)], classes, input_size, last_padding, options)


def squeezenet1_1(classes: int = 1000, *, input_size: int = 224, **options: Any) -> Sequential:
    """SqueezeNet 1.1, 1,235,496 parameters: the same for less than half the work.

    Source: the authors' repository, forresti/SqueezeNet, SqueezeNet_v1.1.
    """
    return _squeezenet("squeezenet1_1", [
        Conv2D(64, 3, stride=2, activation="relu"), None, _pool(),
        fire(16, 64), fire(16, 64), _pool(),
        fire(32, 128), fire(32, 128), _pool(),
        fire(48, 192), fire(48, 192), fire(64, 256), fire(64, 256)],
        classes, input_size, 0, options)


def fire(squeezed: int, expanded: int):
    """Few channels, from which 1x1 and 3x3 filters make many (figure 1 of the paper)."""
    return group(None,
                 Conv2D(squeezed, 1, activation="relu", name="squeeze"),
                 Concatenate([Conv2D(expanded, 1, activation="relu", name="expand1x1"),
                              Conv2D(expanded, 3, padding=1, activation="relu", name="expand3x3")],
                             name=""))


def _pool():
    return MaxPool2D(3, stride=2, ceil_mode=True)


def _squeezenet(name, features, classes, input_size, last_padding, options):
    return network(name, [
        numbered("features", features),
        numbered("classifier", [
            Dropout(0.5), Conv2D(classes, 1, padding=last_padding, activation="relu"), None,
            GlobalAvgPool2D()]),
        Flatten(),
        Softmax(),
    ], input_size, **options)
