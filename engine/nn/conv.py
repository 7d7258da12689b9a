"""Conv2D: x (N, C, H, W) -> y (N, out_channels, OH, OW)."""

from __future__ import annotations

import numpy as np

import engine
from engine.nn import _check, activations, initializers
from engine.nn.layer import Layer


class Conv2D(Layer):
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
    activation : {None, "relu", "tanh", "sigmoid"}
        Applied to the output; "relu" within the same pass.
    init : {None, "he", "glorot"}
        Rule for the first weights; None is "he" with ReLU, "glorot" without.
    """

    def __init__(self, out_channels, kernel_size, *, stride=1, padding=0, dilation=1, groups=1,
                 padding_mode="constant", bias=True, activation=None, init=None, name=None):
        super().__init__(name)
        self.out_channels = _check.integer(self.title, "out_channels", out_channels)
        _check.pair(self.title, "kernel_size", kernel_size)
        self.kernel_size = kernel_size
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups = _check.integer(self.title, "groups", groups)
        self.padding_mode = padding_mode
        self.bias = bool(bias)
        self.activation = _check.option(self.title, "activation", activation, activations.FUSED)
        self.init = _check.option(self.title, "init", init, initializers.NAMES)

    def create(self, input_shape):
        _check.axes(self.title, input_shape, 3, "images with channels")
        channels = input_shape[0 if self.context.layout == "NCHW" else 2]
        for name, count in ("input channels", channels), ("out_channels", self.out_channels):
            if count % self.groups:
                raise ValueError(f"{self.title}: `groups` is {self.groups}, "
                                 f"expected a divisor of the {count} {name}")
        kh, kw = _check.pair(self.title, "kernel_size", self.kernel_size)
        self.geometry = dict(stride=self.stride, padding=self.padding, dilation=self.dilation,
                             groups=self.groups, padding_mode=self.padding_mode,
                             layout=self.context.layout)
        shape = (self.out_channels, channels // self.groups, kh, kw)
        params = {"weight": initializers.draw(
            self.init, self.activation, self.context.rng, shape,
            fan_in=shape[1] * kh * kw, fan_out=self.out_channels // self.groups * kh * kw)}
        return params | ({"bias": np.zeros(self.out_channels)} if self.bias else {})

    def forward(self, x, training=False):
        y = engine.conv2d(x, self.params["weight"], self.params.get("bias"),
                          activation=self.activation, **self.geometry)
        if training:
            self.keep(x, y if self.activation else None)
        return y

    def backward(self, dy, need_dx=True):
        x, y = self.kept()
        if self.activation:
            dy = activations.backward_of(self.activation, dy, y)
        wanted = (["x"] if need_dx else []) + list(self.params)
        dx, dweight, dbias = engine.conv2d_backward(dy, x, self.params["weight"], wrt=wanted,
                                                    **self.geometry)
        self.set_grads(weight=dweight, **({"bias": dbias} if self.bias else {}))
        return dx
