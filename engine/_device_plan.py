"""A 2-D convolution of CUDA arrays prepared once; also of NumPy arrays with ``backend="cuda"``."""

from __future__ import annotations

from functools import partial

import numpy as np

from engine import _check, _check_conv, _device_convolution
from engine.kernels.cuda_support.arrays import is_cuda, see
from engine.plan_conv2d import Conv2dPlan


class CudaPlan(Conv2dPlan):
    """As `Conv2dPlan`; what a call like the last one launches is known to `conv2d` already."""

    def __init__(self, x_shape, dtype, weight, bias, activation, options):
        given = {"weight": weight, "bias": bias}
        self._on_host = not any(map(is_cuda, given.values()))
        self._weight, self._bias = (None if each is None else _copy(name, each, self._on_host)
                                    for name, each in given.items())
        kernel, vector = (_view(each) for each in (self._weight, self._bias))
        self.x_shape = _check.shape("plan_conv2d", "x_shape", x_shape)
        self.x_dtype = (kernel.dtype if dtype is None
                        else _check.dtype("plan_conv2d", "dtype", dtype))
        _check.addressable("plan_conv2d", "x", self.x_shape, self.x_dtype)
        call, *_ = _check_conv.forward("plan_conv2d", np.empty(self.x_shape, self.x_dtype), kernel,
                                       vector, activation, options)
        self.y_shape, self.dtype = call.y_shape, call.problem.dtype
        self._activation, self._options = activation, options

    def __call__(self, x, out=None):
        self._like(x)
        return _device_convolution.forward("plan_conv2d", x, self._weight, self._bias,
                                           self._activation, self._options, out)

    def bind(self, x, out):
        self._like(x)
        _check.output("plan_conv2d", _view(out), self.y_shape, self.dtype, x=_view(x))
        return partial(self, x, out)

    def _like(self, x):
        view = _view(x)
        if (view.shape, view.dtype) != (self.x_shape, self.x_dtype):
            _check.like("plan_conv2d", "x", np.broadcast_to(np.empty((), view.dtype), view.shape),
                        self.x_shape, self.x_dtype)


def _copy(name, value, on_host):
    if on_host:
        return np.array(value, order="C")
    if not is_cuda(value):
        raise TypeError(f"plan_conv2d: `{name}` is {_check.show(value)}, expected a CUDA array (as "
                        "the others)")
    return see(value).owner.copy(value)


def _view(value):
    """As an ndarray to look at, no more."""
    return value if value is None else see(value).view if is_cuda(value) else np.asarray(value)
