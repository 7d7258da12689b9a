"""Convolutions: x (N, C, H, W) -> y (N, out_channels, OH, OW); the 1-D one on (N, C, L).

`engine.nn.separable` has those that treat each channel by itself, `engine.nn.conv_transpose` those
that enlarge an image.
"""

from __future__ import annotations

import math

import numpy as np

import engine
from engine._typing import Activation, Ints, Padding, PaddingMode
from engine.nn import _check, activations, initializers
from engine.nn._typing import Init
from engine.nn.layer import Layer
from engine.nn.pool import MaxPool2D


class ConvLayer(Layer):
    """What all convolutions share: one weight, perhaps a bias and an activation."""

    operation = ""  # the name of the function in `engine`
    rank = 2  # how many axes of an image the kernel slides along

    def _set(self, kernel_size, stride, padding, dilation, bias, activation, init):
        """Check and keep the arguments that all have."""
        _check.sizes(self.title, "kernel_size", kernel_size, self.rank)
        self.kernel_size = kernel_size
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.bias = bool(bias)
        self.activation = _check.option(self.title, "activation", activation, activations.FUSED)
        self.init = _check.option(self.title, "init", init, initializers.NAMES)

    def _create(self, channels: int, out_channels: int, groups: int, **geometry):
        """New parameters; also sets `geometry`, the arguments of every call."""
        _check.divides(self.title, "groups", groups, channels, "input channels")
        _check.divides(self.title, "groups", groups, out_channels, "out_channels")
        self.geometry = dict(stride=self.stride, padding=self.padding, dilation=self.dilation,
                             groups=groups, layout=self.context.layout_of(self.rank), **geometry)
        kernel = _check.sizes(self.title, "kernel_size", self.kernel_size, self.rank)
        inputs, outputs = channels // groups, out_channels // groups  # of each group
        weight = initializers.draw(self.init, self.activation, self.context.rng,
                                   self.weight_shape(channels, out_channels, groups) + kernel,
                                   fan_in=inputs * math.prod(kernel),
                                   fan_out=outputs * math.prod(kernel))
        return {"weight": weight} | ({"bias": np.zeros(out_channels)} if self.bias else {})

    def weight_shape(self, channels: int, out_channels: int, groups: int) -> tuple[int, int]:
        """The axes of the weight before those of the kernel."""
        return out_channels, channels // groups

    def forward(self, x, training=False):
        convolve = getattr(engine, self.operation)
        y = convolve(x, self.params["weight"], self.params.get("bias"),
                     activation=self.activation, **self.geometry)
        if training:
            self.keep(x, y if self.activation else None)
        return y

    def train_forward(self, x, after):
        if self.activation != "relu" or not isinstance(after, MaxPool2D):
            return super().train_forward(x, after)
        y = self.forward(x, True)
        self.keep(x, None)  # the pooling sees to the activation: it has fewer numbers
        return after.forward(y, True, rectified=True), True

    def backward(self, dy, need_dx=True):
        x, y = self.kept()
        if y is not None:
            dy = activations.backward_of(self.activation, dy, y)
        wanted = (["x"] if need_dx else []) + list(self.params)
        gradients = getattr(engine, self.operation + "_backward")
        dx, dweight, dbias = gradients(dy, x, self.params["weight"], wrt=wanted, **self.geometry)
        self.set_grads(weight=dweight, **({"bias": dbias} if self.bias else {}))
        return dx


class _Conv(ConvLayer):
    """Convolution along one or two axes."""

    def __init__(self, out_channels: int, kernel_size: Ints, *, stride: Ints = 1,
                 padding: Padding = 0, dilation: Ints = 1, groups: int = 1,
                 padding_mode: PaddingMode = "constant", bias: bool = True,
                 activation: Activation | None = None, init: Init | None = None,
                 name: str | None = None):
        super().__init__(name)
        self.out_channels = _check.integer(self.title, "out_channels", out_channels)
        self.groups = _check.integer(self.title, "groups", groups)
        self.padding_mode = padding_mode
        self._set(kernel_size, stride, padding, dilation, bias, activation, init)

    def create(self, input_shape):
        channels = self.context.channels(self.title, input_shape, self.rank)
        return self._create(channels, self.out_channels, self.groups,
                            padding_mode=self.padding_mode)


class Conv2D(_Conv):
    """Convolution: each output channel is what one filter finds in all input channels.

    Parameters
    ----------
    out_channels : int
        Number of filters.
    kernel_size : int or pair of int
        Height and width of each filter.
    stride, padding, dilation, groups, padding_mode
        As for `engine.conv2d`.
    bias : bool
        Whether a number is added to each output channel.
    activation : {None, "relu", "relu6", "tanh", "sigmoid"}
        Applied to the output; "relu" and "relu6" within the same pass.
    init : {None, "he", "he_uniform", "glorot", "glorot_normal"}
        Rule for the first weights; None is "he" with ReLU, "glorot" without.
    """

    operation = "conv2d"


class Conv1D(_Conv):
    """Convolution along a line, such as a signal in time: x (N, C, L) -> y (N, out_channels, OL).

    Arguments are those of `Conv2D`, with one number where it has two; in a model of layout "NHWC"
    the lines are (N, L, C).
    """

    operation = "conv1d"
    rank = 1
