"""Transposed convolution, forward and backward: the backward-data of a convolution and its own."""

from __future__ import annotations

import numpy as np

from engine import _activation, _check, _check_conv, _plan, _recall
from engine._axes import to_nchw
from engine._check_conv import Options
from engine._memory import empty_output
from engine._problem import Conv2dProblem
from engine.conv2d import Conv2dGradients


def conv_transpose2d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1,
                     groups=1, activation=None, layout="NCHW", out=None, algorithm=None,
                     backend=None):
    op = "conv_transpose2d"
    options = Options(stride, padding, dilation, groups, "constant", layout, algorithm, backend)
    key = _recall.key(op, (x, weight, bias), (activation, output_padding, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, x, weight, bias = _check_conv.transposed_forward(op, x, weight, bias, activation,
                                                               output_padding, options)
        _recall.keep(key, call, (activation, output_padding, *options))
    p = call.problem  # of the convolution that this is the backward-data of: its x is our y
    if out is not None:
        _check.output(op, out, call.x_shape, p.dtype, x=x, weight=weight, bias=bias)
    y = empty_output(p.x_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    _plan.of(call, "backward_data")(call.to_kernel(x), call.filters(weight), y)
    if bias is not None:
        np.add(y, call.vector(bias)[:, None, None], out=y)
    _activation.apply(call.activation, y)
    return call.to_user(y) if out is None else out


def conv_transpose2d_backward(dy, x, weight, *, stride=1, padding=0, output_padding=0, dilation=1,
                              groups=1, layout="NCHW", algorithm=None, backend=None,
                              wrt=("x", "weight", "bias")):
    op = "conv_transpose2d_backward"
    wrt = _check_conv.wanted(op, wrt)
    options = Options(stride, padding, dilation, groups, "constant", layout, algorithm, backend)
    key = _recall.key(op, (dy, x, weight), (output_padding, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, dy, x, weight = _check_conv.transposed_backward(op, dy, x, weight, output_padding,
                                                              options)
        _recall.keep(key, call, (output_padding, *options))
    dy = call.to_kernel(dy)
    return Conv2dGradients(_backward_data(call, dy, weight) if "x" in wrt else None,
                           _backward_weight(call, dy, x) if "weight" in wrt else None,
                           _backward_bias(call, dy) if "bias" in wrt else None)


def _backward_data(call, dy, weight):
    p = call.problem
    dx = empty_output(p.y_shape, p.dtype, p.order)
    _plan.of(call, "forward")(dy, call.filters(weight), None, dx)
    return call.to_user(dx)


def _backward_weight(call, dy, x):
    p = call.problem
    dweight = np.empty(p.weight_shape, p.dtype)
    _plan.of(call, "backward_weight")(call.to_kernel(x), dy, dweight)
    return dweight[0, 0] if call.ndim == 2 else dweight


def _backward_bias(call, dy):
    n, c, h, w = dy.shape
    p = Conv2dProblem(n=n, g=1, ic=c, ih=h, iw=w, oc=c, oh=h, ow=w, kh=1, kw=1,
                      dtype=call.problem.dtype, order=call.problem.order)
    dbias = np.empty(c, p.dtype)
    _plan.choose("conv2d", p, "backward_bias", None, call.backend)(dy, dbias)
    return dbias
