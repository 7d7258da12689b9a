"""AlexNet, of 2012: the paper's, and the single-column one that torchvision has."""

from __future__ import annotations

from typing import Any

from engine.nn.activations import Softmax
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.dropout import Dropout
from engine.nn.models.parts import network, numbered
from engine.nn.norm import LocalResponseNorm
from engine.nn.pool import MaxPool2D
from engine.nn.sequential import Sequential


def alexnet(classes: int = 1000, *, input_size: int = 227, **options: Any) -> Sequential:
    """AlexNet with two groups and local response normalisation: 60,965,224 parameters.

    Source: Krizhevsky, Sutskever & Hinton 2012, section 3.5.  Its images of 224 pixels give 55
    positions only with 227.
    """
    def response_norm():
        return LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)

    return network("alexnet", [
        Conv2D(96, 11, stride=4, activation="relu", name="conv1"),
        response_norm(),
        MaxPool2D(3, stride=2),
        Conv2D(256, 5, padding=2, groups=2, activation="relu", name="conv2"),
        response_norm(),
        MaxPool2D(3, stride=2),
        Conv2D(384, 3, padding=1, activation="relu", name="conv3"),
        Conv2D(384, 3, padding=1, groups=2, activation="relu", name="conv4"),
        Conv2D(256, 3, padding=1, groups=2, activation="relu", name="conv5"),
        MaxPool2D(3, stride=2),
        Flatten(),
        Dense(4096, activation="relu", name="fc6"),
        Dropout(0.5),
        Dense(4096, activation="relu", name="fc7"),
        Dropout(0.5),
        Dense(classes, name="fc8"),
        Softmax(),
    ], input_size, **options)


def alexnet_torchvision(classes: int = 1000, *, input_size: int = 224,
                        **options: Any) -> Sequential:
    """AlexNet in one column without normalisation: 61,100,840 parameters.

    Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks".
    """
    return network("alexnet_torchvision", [
        numbered("features", [
            Conv2D(64, 11, stride=4, padding=2, activation="relu"), None,
            MaxPool2D(3, stride=2),
            Conv2D(192, 5, padding=2, activation="relu"), None,
            MaxPool2D(3, stride=2),
            Conv2D(384, 3, padding=1, activation="relu"), None,
            Conv2D(256, 3, padding=1, activation="relu"), None,
            Conv2D(256, 3, padding=1, activation="relu"), None,
            MaxPool2D(3, stride=2)]),
        Flatten(),
        numbered("classifier", [
            Dropout(0.5), Dense(4096, activation="relu"), None,
            Dropout(0.5), Dense(4096, activation="relu"), None,
            Dense(classes)]),
        Softmax(),
    ], input_size, **options)
