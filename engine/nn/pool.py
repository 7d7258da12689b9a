"""Poolings: x (N, C, H, W) -> y (N, C, OH, OW); the global ones -> y (N, C, 1, 1).

Those of lines, x (N, C, L) -> y (N, C, OL) or (N, C, 1), differ in the operation alone.
"""

from __future__ import annotations

import engine
from engine._typing import Ints, Padding
from engine.nn.layer import Layer


class Pool(Layer):
    """A pooling whose backward pass needs x again, or only its shape."""

    operation = ""  # the name of the function in `engine`
    rank = 2  # how many spatial axes it pools

    def options(self) -> dict:
        """The arguments of that function."""
        return {}

    def create(self, input_shape):
        self.context.channels(self.title, input_shape, self.rank)  # checks the axes
        self.arguments = self.options() | {"layout": self.context.layout_of(self.rank)}
        return {}

    def forward(self, x, training=False):
        if training:
            self.keep(x)
        return getattr(engine, self.operation)(x, **self.arguments)

    def backward(self, dy, need_dx=True):
        x, = self.kept()
        return getattr(engine, self.operation + "_backward")(dy, x, **self.arguments)


class _IndexedPool(Pool):
    """A pooling that picks one element of each window, and sends the gradient back to it."""

    def __init__(self, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
                 dilation: Ints = 1, ceil_mode: bool = False, name: str | None = None):
        super().__init__(name)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.ceil_mode = dilation, ceil_mode

    def options(self):
        return dict(kernel_size=self.kernel_size, stride=self.stride, padding=self.padding,
                    dilation=self.dilation, ceil_mode=self.ceil_mode)

    def forward(self, x, training=False, rectified=False):
        """As of any layer; with `rectified`, x is max(z, 0) and `backward` gives the gradient in z.
        """
        if not training:
            return super().forward(x)
        y, indices = getattr(engine, self.operation)(x, return_indices=True, **self.arguments)
        self.keep(x.shape, indices, y if rectified else None)  # x itself may be forgotten
        return y

    def backward(self, dy, need_dx=True):
        x_shape, indices, rectified = self.kept()
        if rectified is not None:
            dy = engine.relu_backward(dy, rectified)
        return getattr(engine, self.operation + "_backward")(dy, x_shape, indices=indices,
                                                             **self.arguments)


class _AvgPool(Pool):
    def __init__(self, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True,
                 name: str | None = None):
        super().__init__(name)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def options(self):
        return dict(kernel_size=self.kernel_size, stride=self.stride, padding=self.padding,
                    ceil_mode=self.ceil_mode, count_include_pad=self.count_include_pad)


class _LpPool(Pool):
    def __init__(self, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
                 ceil_mode: bool = False, p: float = 2, name: str | None = None):
        super().__init__(name)
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.ceil_mode, self.p = ceil_mode, p

    def options(self):
        return dict(kernel_size=self.kernel_size, stride=self.stride, padding=self.padding,
                    ceil_mode=self.ceil_mode, p=self.p)


class AdaptiveAvgPool2D(Pool):
    """The mean of each of so many windows; arguments as for `engine.adaptive_avg_pool2d`."""

    operation = "adaptive_avg_pool2d"

    def __init__(self, output_size: Ints, *, name: str | None = None):
        super().__init__(name)
        self.output_size = output_size

    def options(self):
        return {"output_size": self.output_size}


class _GlobalLpPool(Pool):
    def __init__(self, *, p: float = 2, name: str | None = None):
        super().__init__(name)
        self.p = p

    def options(self):
        return {"p": self.p}


class MaxPool2D(_IndexedPool):
    """The largest element of each window; arguments as for `engine.max_pool2d`."""

    operation = "max_pool2d"


class MinPool2D(_IndexedPool):
    """The smallest element of each window; arguments as for `engine.min_pool2d`."""

    operation = "min_pool2d"


class AvgPool2D(_AvgPool):
    """The mean of each window; arguments as for `engine.avg_pool2d`."""

    operation = "avg_pool2d"


class LpPool2D(_LpPool):
    """The p-norm of each window; arguments as for `engine.lp_pool2d`."""

    operation = "lp_pool2d"


class GlobalMaxPool2D(Pool):
    """The largest element of each channel."""

    operation = "global_max_pool2d"


class GlobalMinPool2D(Pool):
    """The smallest element of each channel."""

    operation = "global_min_pool2d"


class GlobalAvgPool2D(Pool):
    """The mean of each channel."""

    operation = "global_avg_pool2d"


class GlobalLpPool2D(_GlobalLpPool):
    """The p-norm of each channel."""

    operation = "global_lp_pool2d"


class MaxPool1D(_IndexedPool):
    """The largest element of each window of a line; arguments as for `engine.max_pool1d`."""

    operation, rank = "max_pool1d", 1


class MinPool1D(_IndexedPool):
    """The smallest element of each window of a line; arguments as for `engine.min_pool1d`."""

    operation, rank = "min_pool1d", 1


class AvgPool1D(_AvgPool):
    """The mean of each window of a line; arguments as for `engine.avg_pool1d`."""

    operation, rank = "avg_pool1d", 1


class LpPool1D(_LpPool):
    """The p-norm of each window of a line; arguments as for `engine.lp_pool1d`."""

    operation, rank = "lp_pool1d", 1


class GlobalMaxPool1D(Pool):
    """The largest element of each line."""

    operation, rank = "global_max_pool1d", 1


class GlobalMinPool1D(Pool):
    """The smallest element of each line."""

    operation, rank = "global_min_pool1d", 1


class GlobalAvgPool1D(Pool):
    """The mean of each line."""

    operation, rank = "global_avg_pool1d", 1


class GlobalLpPool1D(_GlobalLpPool):
    """The p-norm of each line."""

    operation, rank = "global_lp_pool1d", 1
