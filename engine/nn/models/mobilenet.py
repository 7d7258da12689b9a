"""MobileNet, of 2017 and 2018: depthwise convolutions, for small machines."""

from __future__ import annotations

from typing import Any

from engine.nn.activations import ReLU, ReLU6, Softmax
from engine.nn.combine import Residual
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.dropout import Dropout
from engine.nn.models.parts import conv_bn, group, network, numbered
from engine.nn.norm import BatchNorm
from engine.nn.pool import GlobalAvgPool2D
from engine.nn.sequential import Sequential


def mobilenet_v1(classes: int = 1000, *, input_size: int = 224, **options: Any) -> Sequential:
    """MobileNet, 4,231,976 parameters.  Source: Howard et al. 2017, table 1."""
    layers, entering = [conv_bn("conv1", 32, 3, stride=2, padding=1)], 32
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5,
            (1024, 2), (1024, 1)]
    for i, (channels, stride) in enumerate(plan, 1):
        layers.append(group(
            f"block{i}",
            Conv2D(entering, 3, stride=stride, padding=1, groups=entering, bias=False, init="he",
                   name="depthwise"), BatchNorm(name="bn1"), ReLU(),
            Conv2D(channels, 1, bias=False, init="he", name="pointwise"), BatchNorm(name="bn2"),
            ReLU()))
        entering = channels
    return network("mobilenet_v1", [*layers, GlobalAvgPool2D(), Flatten(),
                                    Dense(classes, name="fc"), Softmax()], input_size, **options)


def mobilenet_v2(classes: int = 1000, *, input_size: int = 224, **options: Any) -> Sequential:
    """MobileNet v2, 3,504,872 parameters.  Source: Sandler et al. 2018, table 2."""
    features, entering = [_unit(32, 3, 2)], 32
    for expansion, channels, repeats, stride in [
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1)]:
        for i in range(repeats):
            features.append(_inverted(entering, expansion, channels, stride if i == 0 else 1))
            entering = channels
    features.append(_unit(1280, 1))
    return network("mobilenet_v2", [
        numbered("features", features), GlobalAvgPool2D(), Flatten(),
        numbered("classifier", [Dropout(0.2), Dense(classes)]), Softmax(),
    ], input_size, **options)


def _unit(channels, size, stride=1, groups=1):
    return numbered(None, [
        Conv2D(channels, size, stride=stride, padding=size // 2, groups=groups, bias=False,
               init="he"), BatchNorm(), ReLU6()])


def _inverted(entering, expansion, channels, stride):
    """Few channels at either end, many between them (figure 4 of the paper)."""
    wide = entering * expansion
    layers = [_unit(wide, 1)] if expansion > 1 else []
    layers += [_unit(wide, 3, stride, groups=wide),
               Conv2D(channels, 1, bias=False, init="he"), BatchNorm()]
    row = numbered("conv", layers)
    return (Residual(row) if stride == 1 and entering == channels
            else group(None, row))
