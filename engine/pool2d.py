"""2-D pooling with windows of one size at regular steps, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._windows import Sliding


def max_pool2d(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False,
               layout="NCHW", return_indices=False, out=None, backend=None):
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.forward("max_pool2d", "max", x, windows, layout, backend, out, return_indices)


def max_pool2d_backward(dy, x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False,
                        layout="NCHW", indices=None, backend=None):
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.backward("max_pool2d_backward", "max", dy, x, windows, layout, backend, indices)


def min_pool2d(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False,
               layout="NCHW", return_indices=False, out=None, backend=None):
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.forward("min_pool2d", "min", x, windows, layout, backend, out, return_indices)


def min_pool2d_backward(dy, x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False,
                        layout="NCHW", indices=None, backend=None):
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.backward("min_pool2d_backward", "min", dy, x, windows, layout, backend, indices)


def avg_pool2d(x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False,
               count_include_pad=True, layout="NCHW", out=None, backend=None):
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _pooling.forward("avg_pool2d", "avg", x, windows, layout, backend, out)


def avg_pool2d_backward(dy, x, kernel_size, *, stride=None, padding=0, dilation=1, ceil_mode=False,
                        count_include_pad=True, layout="NCHW", backend=None):
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _pooling.backward("avg_pool2d_backward", "avg", dy, x, windows, layout, backend)


def lp_pool2d(x, kernel_size, *, p=2, stride=None, padding=0, dilation=1, ceil_mode=False,
              layout="NCHW", out=None, backend=None):
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, p=p)
    return _pooling.forward("lp_pool2d", "lp", x, windows, layout, backend, out)


def lp_pool2d_backward(dy, x, kernel_size, *, p=2, stride=None, padding=0, dilation=1,
                       ceil_mode=False, layout="NCHW", backend=None):
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, p=p)
    return _pooling.backward("lp_pool2d_backward", "lp", dy, x, windows, layout, backend)
