"""2-D convolution (cross-correlation), forward and backward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine import _activation, _check, _check_conv, _pad, _plan, _recall
from engine._axes import to_nchw
from engine._check_conv import Options
from engine._memory import empty_output


class Conv2dGradients(NamedTuple):
    """Gradients of a convolution; None for those that were not asked for."""

    dx: np.ndarray | None
    dweight: np.ndarray | None
    dbias: np.ndarray | None


def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1,
           padding_mode="constant", activation=None, layout="NCHW", out=None, algorithm=None,
           backend=None):
    op = "conv2d"
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    key = _recall.key(op, (x, weight, bias), (activation, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, x, weight, bias = _check_conv.forward(op, x, weight, bias, activation,
                                                    Options(*options))
        _recall.keep(key, call, (activation, *options))
    p = call.problem
    if out is not None:
        _check.output(op, out, call.y_shape, p.dtype, x=x, weight=weight, bias=bias)

    image, filters, vector = call.to_kernel(x), call.filters(weight), call.vector(bias)
    if call.pads:
        image = _pad.pad(image, call.pads, call.padding_mode)
    y = empty_output(p.y_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    if key and out is None and image is x and filters is weight and vector is bias:
        run = _plan.prepared(call, "forward", image, filters, vector, y)
    else:
        run = _plan.of(call, "forward")
    run(image, filters, vector, y)
    if call.activation:
        _activation.apply(call.activation, y)
    return call.to_user(y) if out is None else out


def conv2d_backward(dy, x, weight, *, stride=1, padding=0, dilation=1, groups=1,
                    padding_mode="constant", layout="NCHW", algorithm=None, backend=None,
                    wrt=("x", "weight", "bias")):
    op = "conv2d_backward"
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    wrt = _check_conv.wanted(op, wrt)
    key = _recall.key(op, (dy, x, weight), options)
    call = _recall.calls.get(key)
    if call is None:
        call, dy, x, weight = _check_conv.backward(op, dy, x, weight, Options(*options))
        _recall.keep(key, call, options)
    dy = call.to_kernel(dy)
    return Conv2dGradients(_backward_data(call, dy, weight) if "x" in wrt else None,
                           _backward_weight(call, dy, x) if "weight" in wrt else None,
                           _backward_bias(call, dy) if "bias" in wrt else None)


def conv2d_backward_data(dy, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1,
                         padding_mode="constant", layout="NCHW", algorithm=None, backend=None):
    op = "conv2d_backward_data"
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    key = _recall.key(op, (dy, weight), (x_shape, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, dy, weight = _check_conv.backward_data(op, dy, weight, x_shape, Options(*options))
        _recall.keep(key, call, (x_shape, *options))
    return _backward_data(call, call.to_kernel(dy), weight)


def conv2d_backward_weight(dy, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1,
                           padding_mode="constant", layout="NCHW", algorithm=None, backend=None):
    op = "conv2d_backward_weight"
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    key = _recall.key(op, (dy, x), (weight_shape, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, dy, x = _check_conv.backward_weight(op, dy, x, weight_shape, Options(*options))
        _recall.keep(key, call, (weight_shape, *options))
    return _backward_weight(call, call.to_kernel(dy), x)


def _backward_data(call, dy, weight):
    p = call.problem
    dx = empty_output(p.x_shape, p.dtype, p.order)
    _plan.of(call, "backward_data")(dy, call.filters(weight), dx)
    if call.pads:
        dpadded, dx = dx, empty_output(call.unpadded_shape, p.dtype, p.order)
        _pad.pad_backward(dpadded, call.pads, call.padding_mode, dx)
    return call.to_user(dx)


def _backward_weight(call, dy, x):
    p = call.problem
    image = call.to_kernel(x)
    if call.pads:
        image = _pad.pad(image, call.pads, call.padding_mode)
    dweight = np.empty(p.weight_shape, p.dtype)
    _plan.of(call, "backward_weight")(dy, image, dweight)
    return dweight[0, 0] if call.ndim == 2 else dweight


def _backward_bias(call, dy):
    dbias = np.empty(call.problem.oc, call.problem.dtype)
    _plan.of(call, "backward_bias")(dy, dbias)
    return dbias
