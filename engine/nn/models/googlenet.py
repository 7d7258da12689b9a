"""GoogLeNet, of 2014: inception modules, which look at several scales at once."""

from __future__ import annotations

from typing import Any

from engine.nn.activations import Softmax
from engine.nn.auxiliary import Auxiliary
from engine.nn.combine import Concatenate
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.dropout import Dropout
from engine.nn.models.parts import conv_bn, group, network
from engine.nn.norm import LocalResponseNorm
from engine.nn.pool import AdaptiveAvgPool2D, AvgPool2D, GlobalAvgPool2D, MaxPool2D
from engine.nn.sequential import Sequential

# channels of each module: 1x1; 3x3 after a 1x1; 5x5 after a 1x1; 1x1 after a pool (table 1)
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


def googlenet(classes: int = 1000, *, aux: bool = False, input_size: int = 224,
              **options: Any) -> Sequential:
    """GoogLeNet as in the paper: 6,998,552 parameters; 13,378,280 with `aux`, for training.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions", table 1 and figure 3.
    """
    def convolution(name, channels, size, **geometry):
        return Conv2D(channels, size, padding=size // 2, activation="relu", name=name, **geometry)

    def module(name):
        one, three_reduced, three, five_reduced, five, pooled = MODULES[name]
        return Concatenate([
            convolution("1x1", one, 1),
            group("", convolution("3x3_reduce", three_reduced, 1), convolution("3x3", three, 3)),
            group("", convolution("5x5_reduce", five_reduced, 1), convolution("5x5", five, 5)),
            group("", MaxPool2D(3, stride=1, padding=1), convolution("pool_proj", pooled, 1)),
        ], name=f"inception_{name}")

    def auxiliary(name):
        return Auxiliary([AvgPool2D(5, stride=3), convolution("conv", 128, 1),
                          *_auxiliary_end(classes)], name=name) if aux else None

    return network("googlenet", [
        convolution("conv1", 64, 7, stride=2), _pool(), _response_norm(),
        convolution("conv2_reduce", 64, 1), convolution("conv2", 192, 3), _response_norm(), _pool(),
        module("3a"), module("3b"), _pool(),
        module("4a"), auxiliary("aux1"), module("4b"), module("4c"), module("4d"),
        auxiliary("aux2"), module("4e"), _pool(),
        module("5a"), module("5b"),
        GlobalAvgPool2D(), Flatten(), Dropout(0.4), Dense(classes, name="fc"), Softmax(),
    ], input_size, **options)


def googlenet_torchvision(classes: int = 1000, *, aux: bool = False, input_size: int = 224,
                          **options: Any) -> Sequential:
    """GoogLeNet with batch normalisation, as in torchvision: 6,624,904 parameters.

    With `aux`, for training, 13,004,888.  There the "5x5" convolutions are 3x3, and the last of the
    pools is 2x2.
    """
    def convolution(name, channels, size, **geometry):
        return conv_bn(name, channels, size, padding=size // 2, epsilon=1e-3, **geometry)

    def module(name):
        one, three_reduced, three, five_reduced, five, pooled = MODULES[name]
        return Concatenate([
            convolution("branch1", one, 1),
            group("branch2", convolution("0", three_reduced, 1), convolution("1", three, 3)),
            group("branch3", convolution("0", five_reduced, 1), convolution("1", five, 3)),
            group("branch4", MaxPool2D(3, stride=1, padding=1, name="0"),
                  convolution("1", pooled, 1)),
        ], name=f"inception{name}")

    def auxiliary(name):
        return Auxiliary([AdaptiveAvgPool2D(4), convolution("conv", 128, 1),
                          *_auxiliary_end(classes)], name=name) if aux else None

    return network("googlenet_torchvision", [
        convolution("conv1", 64, 7, stride=2), _pool(),
        convolution("conv2", 64, 1), convolution("conv3", 192, 3), _pool(),
        module("3a"), module("3b"), _pool(),
        module("4a"), auxiliary("aux1"), module("4b"), module("4c"), module("4d"),
        auxiliary("aux2"), module("4e"), _pool(2),
        module("5a"), module("5b"),
        GlobalAvgPool2D(), Flatten(), Dropout(0.2), Dense(classes, name="fc"), Softmax(),
    ], input_size, **options)


def _auxiliary_end(classes):
    return [Flatten(), Dense(1024, activation="relu", name="fc1"), Dropout(0.7),
            Dense(classes, name="fc2")]


def _pool(size: int = 3):
    return MaxPool2D(size, stride=2, ceil_mode=True)


def _response_norm():
    return LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)
