"""Convolutions of CUDA arrays, and of NumPy arrays with ``backend="cuda"``."""

from __future__ import annotations

import numpy as np

from engine import _check, _check_conv, _plan
from engine._axes import to_kernel
from engine._check_conv import Options
from engine._device import Result, Work, key_of, known, part
from engine._device_pad import pad, pad_backward
from engine._memory import scratch_like
from engine._problem import Axis, changed, conv_problem


def _planned(work, call, options, *directions):
    """The plans of a call on the device."""
    call.backend = "cuda"
    if call.family == "conv2d":
        precision = _check.precision(call.op, options.precision)
        call.problem = changed(call.problem, precision=precision)
    plans = [_plan.of(call, direction) for direction in directions]
    if not call.pads:
        return plans
    return [_Padding(call, *each) for each in zip(plans, directions, strict=True)]


class _Padding:
    """A plan for an x that is padded with other than zeros."""

    def __init__(self, call, plan, direction):
        self.plan, self.direction = plan, direction
        self.pads, self.mode, self.problem = call.pads, call.padding_mode, call.problem

    def __call__(self, *arrays):
        from engine.kernels.cuda_support.recorded import recorded

        if self.direction == "backward_bias":
            self.plan(*arrays)
        elif self.direction == "backward_data":
            dy, weight, dx = recorded(*arrays)
            dpadded = scratch_like(dx, self.problem.x_shape, self.problem.dtype,
                                   self.problem.order)
            self.plan(dy, weight, dpadded)
            pad_backward(dpadded, self.pads, self.mode, dx)
        else:
            arrays = recorded(*arrays)
            place = 0 if self.direction == "forward" else 1  # of x
            arrays[place] = pad(arrays[place], self.pads, self.mode)
            self.plan(*arrays)


def forward(op, x, weight, bias, activation, options, out):
    """y."""
    key = key_of(op, (x, weight, bias), (activation, *options)) if out is None else None
    if steps := known(key, "y"):
        return steps[0].again({"x": x, "weight": weight, "bias": bias})[0]
    options = Options(*options)
    work = Work(op, options.layout, options.backend, x=x, weight=weight, bias=bias, out=out)
    call, x, weight, bias = _check_conv.forward(op, work["x"], work["weight"], work["bias"],
                                                activation, options)
    call.problem = changed(call.problem, activation=activation)  # kernels do all of them
    (plan,) = _planned(work, call, options, "forward")
    p = call.problem
    work.same_dtype(p.dtype, "x", "weight", "bias")
    if out is not None:
        _check.output(op, work["out"], call.y_shape, p.dtype, x=x, weight=weight, bias=bias)
    if work.recording:
        return None
    inputs = {"x": call.to_kernel(x), "weight": call.filters(weight),
              "bias": _vector(bias, p.dtype)}
    return work.run(part(key, "y"), plan, inputs,
                    Result(p.y_shape, p.dtype, p.order, call.to_user), out=out)[0]


def _vector(bias, dtype):
    """bias with an axis, of any stride."""
    return None if bias is None else np.atleast_1d(_check.cast(bias, dtype))


def backward(op, dy, x, weight, options, wrt, result):
    """The gradients named in `wrt`, in a tuple of the type `result`."""
    key = key_of(op, (dy, x, weight), options)
    if wrt and (steps := known(key, *wrt)):
        return _again(steps, {"dy": dy, "x": x, "weight": weight}, wrt, result)
    options = Options(*options)
    work = Work(op, options.layout, options.backend, dy=dy, x=x, weight=weight)
    call, dy, x, weight = _check_conv.backward(op, work["dy"], work["x"], work["weight"], options)
    return result(_data(work, key, call, options, dy, weight) if "x" in wrt else None,
                  _weight(work, key, call, options, dy=dy, x=x) if "weight" in wrt else None,
                  _bias(work, key, call, options, dy) if "bias" in wrt else None)


def _again(steps, arrays, wrt, result):
    """The gradients of a call like an earlier one."""
    made = {name: step.again(arrays)[0] for name, step in zip(wrt, steps, strict=True)}
    return result(made.get("x"), made.get("weight"), made.get("bias"))


def backward_data(op, dy, weight, x_shape, options):
    """dx."""
    key = key_of(op, (dy, weight), (x_shape, *options))
    if steps := known(key, "x"):
        return steps[0].again({"dy": dy, "weight": weight})[0]
    options = Options(*options)
    work = Work(op, options.layout, options.backend, dy=dy, weight=weight)
    call, dy, weight = _check_conv.backward_data(op, work["dy"], work["weight"], x_shape, options)
    return _data(work, key, call, options, dy, weight)


def backward_weight(op, dy, x, weight_shape, options):
    """dweight."""
    key = key_of(op, (dy, x), (weight_shape, *options))
    if steps := known(key, "weight"):
        return steps[0].again({"dy": dy, "x": x})[0]
    options = Options(*options)
    work = Work(op, options.layout, options.backend, dy=dy, x=x)
    call, dy, x = _check_conv.backward_weight(op, work["dy"], work["x"], weight_shape, options)
    return _weight(work, key, call, options, dy=dy, x=x)


def _data(work, key, call, options, dy, weight):
    (plan,) = _planned(work, call, options, "backward_data")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    inputs = {"dy": call.to_kernel(dy), "weight": call.filters(weight)}
    return work.run(part(key, "x"), plan, inputs,
                    Result(call.unpadded_shape, p.dtype, p.order, call.to_user))[0]


def _weight(work, key, call, options, **inputs):
    """`inputs` are dy and x; of a transposed convolution x and dy, as they change places there."""
    (plan,) = _planned(work, call, options, "backward_weight")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    inputs = {name: call.to_kernel(each) for name, each in inputs.items()}
    return work.run(part(key, "weight"), plan, inputs,
                    Result(p.weight_shape, p.dtype, "nchw", call.weight))[0]


def _bias(work, key, call, options, dy, problem=None):
    p = problem or call.problem
    if problem is None:
        (plan,) = _planned(work, call, options, "backward_bias")
    else:
        plan = _plan.choose(call.family, p, "backward_bias", None, "cuda")
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    return work.run(part(key, "bias"), plan, {"dy": call.to_kernel(dy)},
                    Result((p.oc,), p.dtype, "nchw", lambda array: array))[0]


# ---- transposed: the problem is that of the convolution whose backward-data it is ---------------

def transposed(op, x, weight, bias, output_padding, activation, options, out):
    """y, which that convolution calls x."""
    key = None
    if out is None:
        key = key_of(op, (x, weight, bias), (activation, output_padding, *options))
    if steps := known(key, "y"):
        return steps[0].again({"x": x, "weight": weight, "bias": bias})[0]
    options = Options(*options)
    work = Work(op, options.layout, options.backend, x=x, weight=weight, bias=bias, out=out)
    call, x, weight, bias = _check_conv.transposed_forward(
        op, work["x"], work["weight"], work["bias"], activation, output_padding, options)
    (plan,) = _planned(work, call, options, "backward_data")
    p = call.problem
    work.same_dtype(p.dtype, "x", "weight", "bias")
    if out is not None:
        _check.output(op, work["out"], call.x_shape, p.dtype, x=x, weight=weight, bias=bias)
    if work.recording:
        return None
    inputs = {"x": call.to_kernel(x), "weight": call.filters(weight),
              "bias": _vector(bias, p.dtype)}
    return work.run(part(key, "y"), plan.finished(activation), inputs,
                    Result(p.x_shape, p.dtype, p.order, call.to_user), out=out)[0]


def transposed_backward(op, dy, x, weight, output_padding, options, wrt, result):
    """The gradients named in `wrt`, in a tuple of the type `result`."""
    key = key_of(op, (dy, x, weight), (output_padding, *options))
    if wrt and (steps := known(key, *wrt)):
        return _again(steps, {"dy": dy, "x": x, "weight": weight}, wrt, result)
    options = Options(*options)
    work = Work(op, options.layout, options.backend, dy=dy, x=x, weight=weight)
    call, dy, x, weight = _check_conv.transposed_backward(
        op, work["dy"], work["x"], work["weight"], output_padding, options)
    return result(_transposed_data(work, key, call, options, dy, weight) if "x" in wrt else None,
                  _weight(work, key, call, options, x=x, dy=dy) if "weight" in wrt else None,
                  _transposed_bias(work, key, call, options, dy) if "bias" in wrt else None)


def transposed_backward_data(op, dy, weight, x_shape, output_padding, options):
    """dx."""
    options = Options(*options)
    work = Work(op, options.layout, options.backend, dy=dy, weight=weight)
    call, dy, weight = _check_conv.transposed_backward_data(
        op, work["dy"], work["weight"], x_shape, output_padding, options)
    return _transposed_data(work, None, call, options, dy, weight)


def transposed_backward_weight(op, dy, x, weight_shape, output_padding, options):
    """dweight."""
    options = Options(*options)
    work = Work(op, options.layout, options.backend, dy=dy, x=x)
    call, dy, x = _check_conv.transposed_backward_weight(
        op, work["dy"], work["x"], weight_shape, output_padding, options)
    return _weight(work, None, call, options, x=x, dy=dy)


def _transposed_data(work, key, call, options, dy, weight):
    (plan,) = _planned(work, call, options, "forward")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    inputs = {"dy": call.to_kernel(dy), "weight": call.filters(weight), "bias": None}
    return work.run(part(key, "x"), plan, inputs,
                    Result(p.y_shape, p.dtype, p.order, call.to_user))[0]


def _transposed_bias(work, key, call, options, dy):
    n, c, *size = to_kernel(dy, call.layout).shape
    p = conv_problem(n, 1, c, c, [Axis(each, each) for each in size], dtype=call.problem.dtype,
                     order=call.problem.order)
    return _bias(work, key, call, options, dy, p)
