"""VGG-16 and VGG-19, of 2014: nothing but 3x3 convolutions and 2x2 pools."""

from __future__ import annotations

from typing import Any

from engine.nn.activations import Softmax
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.dropout import Dropout
from engine.nn.models.parts import network, numbered
from engine.nn.pool import MaxPool2D
from engine.nn.sequential import Sequential


def vgg16(classes: int = 1000, *, input_size: int = 224, **options: Any) -> Sequential:
    """VGG-16, 138,357,544 parameters.  Source: Simonyan & Zisserman 2015, table 1, column D."""
    return _vgg("vgg16", (2, 2, 3, 3, 3), classes, input_size, options)


def vgg19(classes: int = 1000, *, input_size: int = 224, **options: Any) -> Sequential:
    """VGG-19, 143,667,240 parameters.  Source: Simonyan & Zisserman 2015, table 1, column E."""
    return _vgg("vgg19", (2, 2, 4, 4, 4), classes, input_size, options)


def _vgg(name, depths, classes, input_size, options):
    features = []
    for depth, channels in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            features += [Conv2D(channels, 3, padding=1, activation="relu"), None]
        features.append(MaxPool2D(2))
    return network(name, [
        numbered("features", features),
        Flatten(),
        numbered("classifier", [
            Dense(4096, activation="relu"), None, Dropout(0.5),
            Dense(4096, activation="relu"), None, Dropout(0.5),
            Dense(classes)]),
        Softmax(),
    ], input_size, **options)
