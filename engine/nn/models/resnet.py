"""ResNet, of 2015: layers learn what to add to their input."""

from __future__ import annotations

from typing import Any

from engine.nn.activations import ReLU, Softmax
from engine.nn.combine import Residual
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.models.parts import group, network, numbered
from engine.nn.norm import BatchNorm
from engine.nn.pool import GlobalAvgPool2D, MaxPool2D
from engine.nn.sequential import Sequential


def resnet18(classes: int = 1000, *, input_size: int = 224, **options: Any) -> Sequential:
    """ResNet-18, 11,689,512 parameters.  Source: He et al. 2016, table 1."""
    return _resnet("resnet18", basic_block, 1, (2, 2, 2, 2), classes, input_size, options)


def resnet50(classes: int = 1000, *, input_size: int = 224, **options: Any) -> Sequential:
    """ResNet-50, 25,557,032 parameters.  Source: He et al. 2016, table 1.

    As in torchvision, it is the 3x3 convolution of a block that has the stride.
    """
    return _resnet("resnet50", bottleneck, 4, (3, 4, 6, 3), classes, input_size, options)


def basic_block(channels: int, stride: int, shortcut) -> Residual:
    """Two 3x3 convolutions (figure 5 of the paper, left)."""
    return Residual([*convolution(1, channels, 3, stride), ReLU(), *convolution(2, channels, 3)],
                    shortcut, activation="relu")


def bottleneck(channels: int, stride: int, shortcut) -> Residual:
    """1x1, 3x3 and 1x1, of which the last makes four times as many channels (figure 5, right)."""
    return Residual([*convolution(1, channels, 1), ReLU(),
                     *convolution(2, channels, 3, stride), ReLU(),
                     *convolution(3, 4 * channels, 1)], shortcut, activation="relu")


def convolution(number: int, channels: int, size: int, stride: int = 1) -> list:
    """A convolution that keeps the size of the image, but for its stride, and its normalisation."""
    return [Conv2D(channels, size, stride=stride, padding=size // 2, bias=False, init="he",
                   name=f"conv{number}"),
            BatchNorm(name=f"bn{number}")]


def _resnet(name, block, expansion, depths, classes, input_size, options):
    stages, entering = [], 64
    for stage, depth in enumerate(depths):
        channels, blocks = 64 << stage, []
        for i in range(depth):
            stride = 2 if stage and i == 0 else 1
            shortcut = None
            if stride > 1 or entering != expansion * channels:
                shortcut = numbered("downsample", [
                    Conv2D(expansion * channels, 1, stride=stride, bias=False, init="he"),
                    BatchNorm()])
            blocks.append(block(channels, stride, shortcut))
            entering = expansion * channels
        stages.append(numbered(f"layer{stage + 1}", blocks))
    return network(name, [
        Conv2D(64, 7, stride=2, padding=3, bias=False, init="he", name="conv1"),
        BatchNorm(name="bn1"), ReLU(),
        MaxPool2D(3, stride=2, padding=1),
        *stages,
        group("", GlobalAvgPool2D(), Flatten(), Dense(classes, name="fc")),
        Softmax(),
    ], input_size, **options)
