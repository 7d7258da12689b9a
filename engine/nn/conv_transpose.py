"""Transposed convolutions: x (N, C, H, W) -> y (N, out_channels, OH, OW), larger than x."""

from __future__ import annotations

from engine._typing import Activation, Ints, Padding
from engine.nn import _check
from engine.nn._typing import Init
from engine.nn.conv import ConvLayer


class _ConvTranspose(ConvLayer):
    """Transposed convolution along one or two axes."""

    def __init__(self, out_channels: int, kernel_size: Ints, *, stride: Ints = 1,
                 padding: Padding = 0, output_padding: Ints = 0, dilation: Ints = 1,
                 groups: int = 1, bias: bool = True, activation: Activation | None = None,
                 init: Init | None = None, name: str | None = None):
        super().__init__(name)
        self.out_channels = _check.integer(self.title, "out_channels", out_channels)
        self.groups = _check.integer(self.title, "groups", groups)
        self.output_padding = output_padding
        self._set(kernel_size, stride, padding, dilation, bias, activation, init)

    def create(self, input_shape):
        channels = self.context.channels(self.title, input_shape, self.rank)
        return self._create(channels, self.out_channels, self.groups,
                            output_padding=self.output_padding)

    def weight_shape(self, channels, out_channels, groups):
        return channels, out_channels // groups


class ConvTranspose2D(_ConvTranspose):
    """Transposed convolution: every pixel of x spreads each filter over the larger result.

    Parameters
    ----------
    out_channels, kernel_size, groups, bias, activation, init
        As for `Conv2D`; the weight is (channels, out_channels / groups, kh, kw).
    stride, padding, output_padding, dilation
        As for `engine.conv_transpose2d`.
    """

    operation = "conv_transpose2d"


class ConvTranspose1D(_ConvTranspose):
    """`ConvTranspose2D` along a line: x (N, C, L) -> y (N, out_channels, OL)."""

    operation = "conv_transpose1d"
    rank = 1
