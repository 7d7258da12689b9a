"""The small ResNets for 32x32 images: three stages of 16, 32 and 64 channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.nn import _check
from engine.nn.activations import ReLU, Softmax
from engine.nn.combine import Residual
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.layer import Layer
from engine.nn.models.parts import network, numbered
from engine.nn.models.resnet import basic_block, convolution
from engine.nn.norm import BatchNorm
from engine.nn.pool import GlobalAvgPool2D
from engine.nn.sequential import Sequential


def resnet_cifar(depth: int = 20, classes: int = 10, *, input_size: int = 32,
                 **options: Any) -> Sequential:
    """ResNet of `depth` 20, 32, 44, 56 or 110, its shortcuts without parameters ("option A").

    ResNet-20 has 269,722 parameters.  Source: He et al. 2016, section 4.2.
    """
    return _network(f"resnet{depth}", depth, lambda channels, stride, changed: basic_block(
        channels, stride, PadChannels(channels, stride) if changed else None),
        [*convolution(1, 16, 3), ReLU()], [], classes, input_size, options)


def resnet_cifar_v1(depth: int = 20, classes: int = 10, *, input_size: int = 32,
                    **options: Any) -> Sequential:
    """The same with 1x1 convolutions for shortcuts ("option B")."""
    return _network(f"resnet{depth}_v1", depth, lambda channels, stride, changed: basic_block(
        channels, stride, numbered("downsample", [
            Conv2D(channels, 1, stride=stride, bias=False, init="he"), BatchNorm()])
        if changed else None),
        [*convolution(1, 16, 3), ReLU()], [], classes, input_size, options)


def resnet_cifar_v2(depth: int = 20, classes: int = 10, *, input_size: int = 32,
                    **options: Any) -> Sequential:
    """The same with normalisation and ReLU before each convolution.

    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks", figure 1 (b).
    """
    def block(channels, stride, changed):
        conv1, norm2 = convolution(1, channels, 3, stride)[0], BatchNorm(name="bn2")
        return Residual([BatchNorm(name="bn1"), ReLU(), conv1, norm2, ReLU(),
                         convolution(2, channels, 3)[0]],
                        Conv2D(channels, 1, stride=stride, bias=False, init="he", name="downsample")
                        if changed else None)

    return _network(f"resnet{depth}_v2", depth, block,
                    [BatchNorm(name="bn0"), convolution(1, 16, 3)[0]],
                    [BatchNorm(name="bn1"), ReLU()], classes, input_size, options)


class PadChannels(Layer):
    """Every `stride`-th pixel, with channels of zeros in front and behind to make `out_channels`.

    Source: He et al. 2016, section 3.3, option A.
    """

    def __init__(self, out_channels: int, stride: int = 1, *, name: str | None = None):
        super().__init__(name)
        self.out_channels = _check.integer(self.title, "out_channels", out_channels)
        self.stride = _check.integer(self.title, "stride", stride)

    def create(self, input_shape):
        channels = self.context.channels(self.title, input_shape, 2)
        missing = self.out_channels - channels
        if missing < 0:
            raise ValueError(f"{self.title}: `out_channels` is {self.out_channels}, expected at "
                             f"least the {channels} of the input")
        self.first, self.channels = missing // 2, channels
        return {}

    def forward(self, x, training=False):
        taken = self._pixels(x)
        channel = 1 if self.context.layout == "NCHW" else 3
        shape = list(taken.shape)
        shape[channel] = self.out_channels
        y = np.zeros(shape, x.dtype, like=x)
        self._middle(y)[...] = taken
        self.keep(x.shape)
        return y

    def backward(self, dy, need_dx=True):
        shape, = self.kept()
        if not need_dx:
            return None
        dx = np.zeros(shape, dy.dtype, like=dy)
        self._pixels(dx)[...] = self._middle(dy)
        return dx

    def _pixels(self, x):
        step = slice(None, None, self.stride)
        return x[:, :, step, step] if self.context.layout == "NCHW" else x[:, step, step]

    def _middle(self, y):
        part = slice(self.first, self.first + self.channels)
        return y[:, part] if self.context.layout == "NCHW" else y[..., part]


def _network(name, depth, block, first, last, classes, input_size, options):
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"resnet_cifar: `depth` is {depth}, expected 6n + 2 with n >= 1")
    stages = []
    for stage in range(3):
        blocks = [block(16 << stage, 2 if stage and i == 0 else 1, stage > 0 and i == 0)
                  for i in range(depth // 6)]
        stages.append(numbered(f"layer{stage + 1}", blocks))
    return network(name, [*first, *stages, *last, GlobalAvgPool2D(), Flatten(),
                          Dense(classes, name="linear"), Softmax()], input_size, **options)
