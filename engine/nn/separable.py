"""Convolutions that treat each channel by itself: x (N, C, H, W) -> y (N, out, OH, OW)."""

from __future__ import annotations

from engine._typing import Activation, Ints, Padding, PaddingMode
from engine.nn import _check
from engine.nn._typing import Init
from engine.nn.conv import Conv2D, ConvLayer
from engine.nn.layer import Layer


class DepthwiseConv2D(ConvLayer):
    """Each channel has filters of its own, `multiplier` of them, and sees no other channel.

    It is a `Conv2D` with as many groups as there are channels.  The arguments it shares with that
    are as there; output channel ``c * multiplier + m`` comes from input channel c.
    """

    operation = "conv2d"

    def __init__(self, kernel_size: Ints, *, multiplier: int = 1, stride: Ints = 1,
                 padding: Padding = 0, dilation: Ints = 1, padding_mode: PaddingMode = "constant",
                 bias: bool = True, activation: Activation | None = None,
                 init: Init | None = None, name: str | None = None):
        super().__init__(name)
        self.multiplier = _check.integer(self.title, "multiplier", multiplier)
        self.padding_mode = padding_mode
        self._set(kernel_size, stride, padding, dilation, bias, activation, init)

    def create(self, input_shape):
        channels = self.context.channels(self.title, input_shape, self.rank)
        return self._create(channels, channels * self.multiplier, groups=channels,
                            padding_mode=self.padding_mode)


class SeparableConv2D(Layer):
    """A depthwise convolution, then a 1x1 convolution that mixes the channels.

    It sees as much as a `Conv2D` of the same kernel size, with C * kh * kw + C * out_channels
    weights in place of C * kh * kw * out_channels.  The bias and the activation come last, the
    geometry and `multiplier` belong to the depthwise part.  Source: Chollet 2017, section 1.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, dilation, padding_mode, bias, activation, init
        As for `Conv2D`.
    multiplier : int
        As for `DepthwiseConv2D`.
    """

    def __init__(self, out_channels: int, kernel_size: Ints, *, multiplier: int = 1,
                 stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1,
                 padding_mode: PaddingMode = "constant", bias: bool = True,
                 activation: Activation | None = None, init: Init | None = None,
                 name: str | None = None):
        super().__init__(name)
        self.out_channels, self.kernel_size, self.multiplier = out_channels, kernel_size, multiplier
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.padding_mode, self.bias = padding_mode, bias
        self.activation, self.init = activation, init
        self.depthwise = DepthwiseConv2D(kernel_size, multiplier=multiplier, stride=stride,
                                         padding=padding, dilation=dilation, bias=False,
                                         padding_mode=padding_mode, init=init, name="depthwise")
        self.pointwise = Conv2D(out_channels, 1, bias=bias, activation=activation, init=init,
                                name="pointwise")

    @property
    def children(self):
        return self.depthwise, self.pointwise

    def create(self, input_shape):
        self.pointwise.build(self.depthwise.build(input_shape, self.context), self.context)
        return {}

    def forward(self, x, training=False):
        return self.pointwise.forward(self.depthwise.forward(x, training), training)

    def backward(self, dy, need_dx=True):
        return self.depthwise.backward(self.pointwise.backward(dy), need_dx)
