"""2-D convolution (cross-correlation), forward and backward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine import _activation, _check, _check_conv, _pad, _plan
from engine._axes import from_nchw, to_nchw
from engine._check_conv import Geometry
from engine._memory import empty_output


class Conv2dGradients(NamedTuple):
    """Gradients of a convolution; None for those that were not asked for."""

    dx: np.ndarray | None
    dweight: np.ndarray | None
    dbias: np.ndarray | None


def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1,
           padding_mode="constant", activation=None, layout="NCHW", out=None, algorithm=None,
           backend=None):
    geometry = Geometry(stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    call, image, kernel, bias = _check_conv.forward("conv2d", x, weight, bias, activation, geometry)
    p = call.problem
    if out is not None:
        _check.output("conv2d", out, call.y_shape, p.dtype, x=x, weight=weight, bias=bias)
    plan = _plan.choose("conv2d", p, "forward", call.algorithm, call.backend)
    if call.pads:
        image = _pad.pad(image, call.pads, padding_mode)
    y = empty_output(p.y_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    plan(image, kernel, bias, y)
    _activation.apply(call.activation, y)
    return from_nchw(y, call.ndim, layout) if out is None else out


def conv2d_backward(dy, x, weight, *, stride=1, padding=0, dilation=1, groups=1,
                    padding_mode="constant", layout="NCHW", algorithm=None, backend=None,
                    wrt=("x", "weight", "bias")):
    geometry = Geometry(stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    wrt = _check_conv.wanted("conv2d_backward", wrt)
    call, dy, x, weight = _check_conv.backward("conv2d_backward", dy, x, weight, geometry)
    return Conv2dGradients(
        _backward_data(call, padding_mode, dy, weight) if "x" in wrt else None,
        _backward_weight(call, padding_mode, dy, x) if "weight" in wrt else None,
        _backward_bias(call, dy) if "bias" in wrt else None)


def conv2d_backward_data(dy, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1,
                         padding_mode="constant", layout="NCHW", algorithm=None, backend=None):
    geometry = Geometry(stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    call, dy, _, weight = _check_conv.backward("conv2d_backward_data", dy, None, weight, geometry,
                                               x_shape=x_shape)
    return _backward_data(call, padding_mode, dy, weight)


def conv2d_backward_weight(dy, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1,
                           padding_mode="constant", layout="NCHW", algorithm=None, backend=None):
    geometry = Geometry(stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    call, dy, x, _ = _check_conv.backward("conv2d_backward_weight", dy, x, None, geometry,
                                          weight_shape=weight_shape)
    return _backward_weight(call, padding_mode, dy, x)


def _backward_data(call, padding_mode, dy, weight):
    p = call.problem
    plan = _plan.choose("conv2d", p, "backward_data", call.algorithm, call.backend)
    dx = empty_output(p.x_shape, p.dtype, p.order)
    plan(dy, weight, dx)
    if call.pads:
        dpadded, dx = dx, empty_output(call.unpadded_shape, p.dtype, p.order)
        _pad.pad_backward(dpadded, call.pads, padding_mode, dx)
    return from_nchw(dx, call.ndim, call.layout)


def _backward_weight(call, padding_mode, dy, x):
    p = call.problem
    plan = _plan.choose("conv2d", p, "backward_weight", call.algorithm, call.backend)
    if call.pads:
        x = _pad.pad(x, call.pads, padding_mode)
    dweight = np.empty(p.weight_shape, p.dtype)
    plan(dy, x, dweight)
    return dweight[0, 0] if call.ndim == 2 else dweight


def _backward_bias(call, dy):
    p = call.problem
    plan = _plan.choose("conv2d", p, "backward_bias", None, call.backend)
    dbias = np.empty(p.oc, p.dtype)
    plan(dy, dbias)
    return dbias
