"""What all convolutions do: check, plan, run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine import _activation, _check, _check_conv, _device, _pad, _plan, _recall
from engine import _device_convolution as _cuda
from engine._axes import to_kernel
from engine._check_conv import Options
from engine._memory import empty_output, output_maker
from engine._problem import Axis, conv_problem


class ConvGradients(NamedTuple):
    """Gradients of a convolution; None for those that were not asked for."""

    dx: np.ndarray | None
    dweight: np.ndarray | None
    dbias: np.ndarray | None


def forward(op, x, weight, bias, activation, options, out):
    """y."""
    key = _recall.key(op, (x, weight, bias), (activation, *options))
    call = recalled = _recall.calls.get(key)
    if call is None:
        if _device.wanted(options[7], x, weight, bias):
            return _cuda.forward(op, x, weight, bias, activation, options, out)
        call, x, weight, bias = _check_conv.forward(op, x, weight, bias, activation,
                                                    Options(*options))
        _recall.keep(key, call, (activation, *options))
    elif (call.again and out is None and x.flags.aligned and weight.flags.aligned
          and (bias is None or bias.flags.aligned)):
        return call.again(x, weight, bias)
    if out is not None:
        _check.output(op, out, call.y_shape, call.problem.dtype, x=x, weight=weight, bias=bias)
    return run_forward(call, x, weight, bias, out, repeats=recalled is not None)


def run_forward(call, x, weight, bias, out, *, repeats, run=None):
    """Carry out a checked call by `run` or else its plan; if it `repeats`, find a shorter way."""
    p = call.problem
    image, filters, vector = call.to_kernel(x), call.filters(weight), call.vector(bias)
    as_they_are = image is x and filters is weight and vector is bias
    if call.pads:
        image = _pad.pad(image, call.pads, call.padding_mode)
    y = empty_output(p.y_shape, p.dtype, p.order) if out is None else to_kernel(out, call.layout)
    run = run or _plan.of(call, "forward")
    if repeats and as_they_are and out is None and not (call.pads or call.activation):
        call.again, call.y_strides = _again(call, run, x, weight, bias, y), y.strides
    run(image, filters, vector, y)
    _activation.apply(call.activation, y)
    return call.to_user(y) if out is None else out


def _again(call, run, *arrays):
    """What repeats a call whose arrays kernels can take as they are, into y if that is given."""
    p = call.problem
    run = run.prepare(*arrays) if isinstance(run, _plan.Plan) else run
    new = output_maker(p.y_shape, p.dtype, p.order)

    def again(x, weight, bias, y=None):
        if y is None:
            y = new()
        run(x, weight, bias, y)
        return y

    return again


def backward(op, dy, x, weight, options, wrt):
    """The gradients named in `wrt`."""
    wrt = _check_conv.wanted(op, wrt)
    key = _recall.key(op, (dy, x, weight), options)
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(options[7], dy, x, weight):
            return _cuda.backward(op, dy, x, weight, options, wrt, ConvGradients)
        call, dy, x, weight = _check_conv.backward(op, dy, x, weight, Options(*options))
        _recall.keep(key, call, options)
    dy = call.to_kernel(dy)
    return ConvGradients(_backward_data(call, dy, weight) if "x" in wrt else None,
                         _backward_weight(call, dy, x) if "weight" in wrt else None,
                         _backward_bias(call, dy) if "bias" in wrt else None)


def backward_data(op, dy, weight, x_shape, options):
    """dx."""
    key = _recall.key(op, (dy, weight), (x_shape, *options))
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(options[7], dy, weight):
            return _cuda.backward_data(op, dy, weight, x_shape, options)
        call, dy, weight = _check_conv.backward_data(op, dy, weight, x_shape, Options(*options))
        _recall.keep(key, call, (x_shape, *options))
    return _backward_data(call, call.to_kernel(dy), weight)


def backward_weight(op, dy, x, weight_shape, options):
    """dweight."""
    key = _recall.key(op, (dy, x), (weight_shape, *options))
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(options[7], dy, x):
            return _cuda.backward_weight(op, dy, x, weight_shape, options)
        call, dy, x = _check_conv.backward_weight(op, dy, x, weight_shape, Options(*options))
        _recall.keep(key, call, (weight_shape, *options))
    return _backward_weight(call, call.to_kernel(dy), x)


def _backward_data(call, dy, weight):
    p = call.problem
    dx = empty_output(p.x_shape, p.dtype, p.order)
    arrays = dy, call.filters(weight), dx
    _plan.ready(call, "backward_data", *arrays)(*arrays)
    if call.pads:
        dpadded, dx = dx, empty_output(call.unpadded_shape, p.dtype, p.order)
        _pad.pad_backward(dpadded, call.pads, call.padding_mode, dx)
    return call.to_user(dx)


def _backward_weight(call, dy, x):
    p = call.problem
    image = call.to_kernel(x)
    if call.pads:
        image = _pad.pad(image, call.pads, call.padding_mode)
    dweight = empty_output(p.weight_shape, p.dtype, "nchw")
    _plan.ready(call, "backward_weight", dy, image, dweight)(dy, image, dweight)
    return call.weight(dweight)


def _backward_bias(call, dy):
    dbias = np.empty(call.problem.oc, call.problem.dtype)
    _plan.of(call, "backward_bias")(dy, dbias)
    return dbias


# ---- transposed: the problem is that of the convolution whose backward-data it is ---------------

def transposed(op, x, weight, bias, output_padding, activation, options, out):
    """y, which that convolution calls x."""
    key = _recall.key(op, (x, weight, bias), (activation, output_padding, *options))
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(options[7], x, weight, bias):
            return _cuda.transposed(op, x, weight, bias, output_padding, activation, options,
                                    out)
        call, x, weight, bias = _check_conv.transposed_forward(op, x, weight, bias, activation,
                                                               output_padding, Options(*options))
        _recall.keep(key, call, (activation, output_padding, *options))
    p = call.problem
    if out is not None:
        _check.output(op, out, call.x_shape, p.dtype, x=x, weight=weight, bias=bias)
    y = empty_output(p.x_shape, p.dtype, p.order) if out is None else to_kernel(out, call.layout)
    _plan.of(call, "backward_data")(call.to_kernel(x), call.filters(weight), y)
    if bias is not None:
        np.add(y, call.vector(bias).reshape(-1, *(1,) * (y.ndim - 2)), out=y)
    _activation.apply(call.activation, y)
    return call.to_user(y) if out is None else out


def transposed_backward(op, dy, x, weight, output_padding, options, wrt):
    """The gradients named in `wrt`."""
    wrt = _check_conv.wanted(op, wrt)
    key = _recall.key(op, (dy, x, weight), (output_padding, *options))
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(options[7], dy, x, weight):
            return _cuda.transposed_backward(op, dy, x, weight, output_padding, options, wrt,
                                             ConvGradients)
        call, dy, x, weight = _check_conv.transposed_backward(op, dy, x, weight, output_padding,
                                                              Options(*options))
        _recall.keep(key, call, (output_padding, *options))
    dy = call.to_kernel(dy)
    return ConvGradients(_transposed_data(call, dy, weight) if "x" in wrt else None,
                         _transposed_weight(call, dy, x) if "weight" in wrt else None,
                         _transposed_bias(call, dy) if "bias" in wrt else None)


def transposed_backward_data(op, dy, weight, x_shape, output_padding, options):
    """dx."""
    key = _recall.key(op, (dy, weight), (x_shape, output_padding, *options))
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(options[7], dy, weight):
            return _cuda.transposed_backward_data(op, dy, weight, x_shape, output_padding, options)
        call, dy, weight = _check_conv.transposed_backward_data(op, dy, weight, x_shape,
                                                                output_padding, Options(*options))
        _recall.keep(key, call, (x_shape, output_padding, *options))
    return _transposed_data(call, call.to_kernel(dy), weight)


def transposed_backward_weight(op, dy, x, weight_shape, output_padding, options):
    """dweight."""
    key = _recall.key(op, (dy, x), (weight_shape, output_padding, *options))
    call = _recall.calls.get(key)
    if call is None:
        if _device.wanted(options[7], dy, x):
            return _cuda.transposed_backward_weight(op, dy, x, weight_shape, output_padding,
                                                    options)
        call, dy, x = _check_conv.transposed_backward_weight(op, dy, x, weight_shape,
                                                             output_padding, Options(*options))
        _recall.keep(key, call, (weight_shape, output_padding, *options))
    return _transposed_weight(call, call.to_kernel(dy), x)


def _transposed_data(call, dy, weight):
    p = call.problem
    dx = empty_output(p.y_shape, p.dtype, p.order)
    _plan.of(call, "forward")(dy, call.filters(weight), None, dx)
    return call.to_user(dx)


def _transposed_weight(call, dy, x):
    p = call.problem
    dweight = empty_output(p.weight_shape, p.dtype, "nchw")
    _plan.of(call, "backward_weight")(call.to_kernel(x), dy, dweight)
    return call.weight(dweight)


def _transposed_bias(call, dy):
    n, c, *size = dy.shape
    p = conv_problem(n, 1, c, c, [Axis(each, each) for each in size], dtype=call.problem.dtype,
                     order=call.problem.order)
    dbias = np.empty(c, p.dtype)
    _plan.choose(call.family, p, "backward_bias", None, call.backend)(dy, dbias)
    return dbias
