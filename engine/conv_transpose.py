"""Transposed convolution, forward and backward: the backward-data of a convolution and its own."""

from __future__ import annotations

import numpy as np

from engine import _activation, _check, _check_conv, _plan
from engine._axes import from_nchw, to_nchw
from engine._check_conv import Geometry
from engine._memory import empty_output
from engine._problem import Conv2dProblem
from engine.conv2d import Conv2dGradients


def conv_transpose2d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1,
                     groups=1, activation=None, layout="NCHW", out=None, algorithm=None,
                     backend=None):
    op = "conv_transpose2d"
    geometry = Geometry(stride, padding, dilation, groups, "constant", layout, algorithm, backend)
    call, image, kernel, vector = _check_conv.transposed_forward(op, x, weight, bias, activation,
                                                                 output_padding, geometry)
    p = call.problem
    if out is not None:
        _check.output(op, out, call.x_shape, p.dtype, x=x, weight=weight, bias=bias)
    plan = _plan.choose("conv2d", p, "backward_data", call.algorithm, call.backend)
    y = empty_output(p.x_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    plan(image, kernel, y)
    if vector is not None:
        np.add(y, vector[:, None, None], out=y)
    _activation.apply(call.activation, y)
    return from_nchw(y, call.ndim, layout) if out is None else out


def conv_transpose2d_backward(dy, x, weight, *, stride=1, padding=0, output_padding=0, dilation=1,
                              groups=1, layout="NCHW", algorithm=None, backend=None,
                              wrt=("x", "weight", "bias")):
    op = "conv_transpose2d_backward"
    wrt = _check_conv.wanted(op, wrt)
    geometry = Geometry(stride, padding, dilation, groups, "constant", layout, algorithm, backend)
    call, dy, x, weight = _check_conv.transposed_backward(op, dy, x, weight, output_padding,
                                                          geometry)
    return Conv2dGradients(
        _backward_data(call, dy, weight) if "x" in wrt else None,
        _backward_weight(call, dy, x) if "weight" in wrt else None,
        _backward_bias(call, dy) if "bias" in wrt else None)


def _backward_data(call, dy, weight):
    p = call.problem
    plan = _plan.choose("conv2d", p, "forward", call.algorithm, call.backend)
    dx = empty_output(p.y_shape, p.dtype, p.order)
    plan(dy, weight, None, dx)
    return from_nchw(dx, call.ndim, call.layout)


def _backward_weight(call, dy, x):
    p = call.problem
    plan = _plan.choose("conv2d", p, "backward_weight", call.algorithm, call.backend)
    dweight = np.empty(p.weight_shape, p.dtype)
    plan(x, dy, dweight)
    return dweight[0, 0] if call.ndim == 2 else dweight


def _backward_bias(call, dy):
    n, c, h, w = dy.shape
    each_pixel = Conv2dProblem(n=n, g=1, ic=c, ih=h, iw=w, oc=c, oh=h, ow=w, kh=1, kw=1,
                               dtype=call.problem.dtype, order=call.problem.order)
    plan = _plan.choose("conv2d", each_pixel, "backward_bias", None, call.backend)
    dbias = np.empty(c, call.problem.dtype)
    plan(dy, dbias)
    return dbias
