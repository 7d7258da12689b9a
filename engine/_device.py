"""Calls on CUDA arrays, and on NumPy arrays with ``backend="cuda"``: the same checks and planner.

The checks look at CUDA arrays as ndarrays that are never read; what differs from the host is who
makes results, and that no kernel argument is cast or padded beforehand.  NumPy arrays are copied to
the device and results back.
"""

from __future__ import annotations

from math import prod

import numpy as np

from engine import _check, _check_conv, _check_pool, _config, _plan
from engine._axes import to_kernel
from engine._check_conv import Options
from engine._check_pool import EXTREMES
from engine._problem import Axis, changed, conv_problem


def wanted(backend, *arrays) -> bool:
    """Whether a call is for the device: it was asked for, or an array is there."""
    if backend == "cuda" or _config.mode.get().backend == "cuda":
        return True
    return any(type(each) is not np.ndarray and _arrays().is_cuda(each) for each in arrays)


def _arrays():
    from engine.kernels.cuda_support import arrays  # only someone with such an array gets here

    return arrays


class _Work:
    """The arrays of one call, by name, as ndarrays for the checks."""

    def __init__(self, op: str, layout, backend, **arrays):
        self.op, self.layout = op, layout
        self.given = {name: each for name, each in arrays.items() if each is not None}
        cuda = {name: _arrays().is_cuda(each) for name, each in self.given.items()}
        self.on_host = not any(cuda.values())
        self.recording = _config.mode.get().record is not None
        self.copies = []  # on the device
        if self.on_host:
            self.views = dict(self.given)
            return
        if backend not in (None, "cuda"):
            name = _check.backend(op, backend)
            raise ValueError(f'{op}: `backend` is "{name}", expected "cuda" (the arrays are on a '
                             "CUDA device)")
        for name, there in cuda.items():
            if not there:
                raise TypeError(f"{op}: `{name}` is {_check.show(self.given[name])}, expected a "
                                "CUDA array (as the others)")
        self.seen = {name: _arrays().see(each) for name, each in self.given.items()}
        self.views = {name: each.view for name, each in self.seen.items()}
        self.owner, self.ordinal = next(iter(self.seen.values()))[-1::-2]
        self._same_device()

    def _same_device(self):
        (first, one), *others = self.seen.items()
        for name, each in others:
            if each.ordinal != one.ordinal:
                raise ValueError(f"{self.op}: `{name}` is on CUDA device {each.ordinal}, expected "
                                 f"{one.ordinal} (as {first})")

    def __getitem__(self, name):
        return self.views.get(name)

    def same_dtype(self, dtype, *names):
        """CUDA arrays are not cast: all have the dtype of the result, and are aligned."""
        for name in () if self.on_host else names:
            view = self.views.get(name)
            if view is not None and view.dtype != dtype:
                raise TypeError(f"{self.op}: `{name}` has dtype {view.dtype}, expected {dtype} "
                                "(CUDA arrays are not cast)")
            if view is not None and not view.flags.aligned:
                raise ValueError(f"{self.op}: `{name}` is not aligned, expected an aligned array")

    def start(self):
        """The space to run in; from here on the device is needed."""
        from engine.kernels.cuda_support import driver, launch

        if self.on_host:
            self.device = driver.device(0)
            self.device.enter()
            self.ordinal = 0
            return launch.using(launch.Space(self.device, 0, self.device.scratch))
        self.device = driver.device(self.ordinal)
        self.device.enter()
        stream = self.owner.stream(self.ordinal)
        for other in {each.stream for each in self.seen.values()} - {stream}:
            self.device.wait(stream, other)
        return launch.using(launch.Space(
            self.device, stream, lambda nbytes: self.owner.scratch(nbytes, self.ordinal)))

    def bring(self, array):
        """A kernel's argument: where it is, or a copy on the device."""
        if array is None or not self.on_host or array.size == 0:
            return array
        compact = array.copy(order="K")
        address, kept = self.device.scratch(compact.nbytes)
        self.copies.append(kept)
        self.device.copy_in(address, _flat(compact))
        return _arrays().at(address, compact.shape, compact.strides, compact.dtype)

    def result(self, shape, dtype, order, user, out=None):
        """A result: as kernels write it, and what returns it to the user.

        `user` turns an array of kernels into one of the user; `out` is where it is to go.
        """
        if out is not None and not self.on_host:
            return to_kernel(self.views["out"], self.layout), lambda: out
        strides = _strides(shape, dtype.itemsize, order)
        shadow = user(np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides))
        if not self.on_host:
            result, address = self.owner.empty(shadow.shape, shadow.strides, dtype, self.ordinal)
            return _arrays().at(address, shape, strides, dtype), lambda: result
        address, kept = self.device.scratch(prod(shape) * dtype.itemsize)
        self.copies.append(kept)

        def finish():
            flat = np.empty(prod(shape), dtype)
            self.device.copy_out(flat, address)
            result = user(np.lib.stride_tricks.as_strided(flat, shape, strides))
            if out is None:
                return result
            out[...] = result
            return out

        return _arrays().at(address, shape, strides, dtype), finish


def _flat(compact):
    """The bytes of an array whose elements lie without gaps, in the order of memory."""
    order = np.argsort([-step for step in compact.strides], kind="stable")
    return np.ascontiguousarray(compact.transpose(order)).reshape(-1).view(np.uint8)


def _strides(shape, itemsize, order):
    axes = list(range(len(shape)))
    if order == "nhwc":
        axes = [0, *axes[2:], 1]
    strides, step = [0] * len(shape), itemsize
    for axis in reversed(axes):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


# ---- convolution -------------------------------------------------------------------------------

def _planned(work, call, options, *directions):
    """The plans of a call on the device."""
    if call.pads:
        raise ValueError(f'{call.op}: `padding_mode` is "{call.padding_mode}", expected "constant" '
                         "(on CUDA)")
    call.backend = "cuda"
    if call.family == "conv2d":
        precision = _check.precision(call.op, options.precision)
        call.problem = changed(call.problem, precision=precision)
    return [_plan.of(call, direction) for direction in directions]


def forward(op, x, weight, bias, activation, options, out):
    """y."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, x=x, weight=weight, bias=bias, out=out)
    call, x, weight, bias = _check_conv.forward(op, work["x"], work["weight"], work["bias"],
                                                activation, options)
    if call.family == "conv2d":  # whose kernels do all activations
        call.problem = changed(call.problem, activation=activation)
    (plan,) = _planned(work, call, options, "forward")
    p = call.problem
    work.same_dtype(p.dtype, "x", "weight", "bias")
    if out is not None:
        _check.output(op, work["out"], call.y_shape, p.dtype, x=x, weight=weight, bias=bias)
    if work.recording:
        return None
    with work.start():
        y, finish = work.result(p.y_shape, p.dtype, p.order, call.to_user, out)
        plan(work.bring(call.to_kernel(x)), work.bring(call.filters(weight)),
             work.bring(_vector(bias, p.dtype)), y)
        return finish()


def _vector(bias, dtype):
    """bias with an axis, of any stride."""
    return None if bias is None else np.atleast_1d(_check.cast(bias, dtype))


def backward(op, dy, x, weight, options, wrt, result):
    """The gradients named in `wrt`, in a tuple of the type `result`."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, x=x, weight=weight)
    call, dy, x, weight = _check_conv.backward(op, work["dy"], work["x"], work["weight"], options)
    return result(_data(work, call, options, dy, weight) if "x" in wrt else None,
                  _weight(work, call, options, dy, x) if "weight" in wrt else None,
                  _bias(work, call, options, dy) if "bias" in wrt else None)


def backward_data(op, dy, weight, x_shape, options):
    """dx."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, weight=weight)
    call, dy, weight = _check_conv.backward_data(op, work["dy"], work["weight"], x_shape, options)
    return _data(work, call, options, dy, weight)


def backward_weight(op, dy, x, weight_shape, options):
    """dweight."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, x=x)
    call, dy, x = _check_conv.backward_weight(op, work["dy"], work["x"], weight_shape, options)
    return _weight(work, call, options, dy, x)


def _data(work, call, options, dy, weight):
    (plan,) = _planned(work, call, options, "backward_data")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    with work.start():
        dx, finish = work.result(p.x_shape, p.dtype, p.order, call.to_user)
        plan(work.bring(call.to_kernel(dy)), work.bring(call.filters(weight)), dx)
        return finish()


def _weight(work, call, options, dy, x):
    (plan,) = _planned(work, call, options, "backward_weight")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    with work.start():
        dweight, finish = work.result(p.weight_shape, p.dtype, "nchw", call.weight)
        plan(work.bring(call.to_kernel(dy)), work.bring(call.to_kernel(x)), dweight)
        return finish()


def _bias(work, call, options, dy, problem=None):
    p = problem or call.problem
    if problem is None:
        (plan,) = _planned(work, call, options, "backward_bias")
    else:
        plan = _plan.choose(call.family, p, "backward_bias", None, "cuda")
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    with work.start():
        dbias, finish = work.result((p.oc,), p.dtype, "nchw", lambda array: array)
        plan(work.bring(call.to_kernel(dy)), dbias)
        return finish()


# ---- transposed: the problem is that of the convolution whose backward-data it is ---------------

def transposed(op, x, weight, bias, output_padding, activation, options, out):
    """y, which that convolution calls x."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, x=x, weight=weight, bias=bias, out=out)
    call, x, weight, bias = _check_conv.transposed_forward(
        op, work["x"], work["weight"], work["bias"], activation, output_padding, options)
    (plan,) = _planned(work, call, options, "backward_data")
    p = call.problem
    work.same_dtype(p.dtype, "x", "weight", "bias")
    if out is not None:
        _check.output(op, work["out"], call.x_shape, p.dtype, x=x, weight=weight, bias=bias)
    if work.recording:
        return None
    with work.start():
        y, finish = work.result(p.x_shape, p.dtype, p.order, call.to_user, out)
        plan.finished(activation, work.bring(call.to_kernel(x)), work.bring(call.filters(weight)),
                      work.bring(_vector(bias, p.dtype)), y)
        return finish()


def transposed_backward(op, dy, x, weight, output_padding, options, wrt, result):
    """The gradients named in `wrt`, in a tuple of the type `result`."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, x=x, weight=weight)
    call, dy, x, weight = _check_conv.transposed_backward(
        op, work["dy"], work["x"], work["weight"], output_padding, options)
    return result(_transposed_data(work, call, options, dy, weight) if "x" in wrt else None,
                  _transposed_weight(work, call, options, dy, x) if "weight" in wrt else None,
                  _transposed_bias(work, call, options, dy) if "bias" in wrt else None)


def transposed_backward_data(op, dy, weight, x_shape, output_padding, options):
    """dx."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, weight=weight)
    call, dy, weight = _check_conv.transposed_backward_data(
        op, work["dy"], work["weight"], x_shape, output_padding, options)
    return _transposed_data(work, call, options, dy, weight)


def transposed_backward_weight(op, dy, x, weight_shape, output_padding, options):
    """dweight."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, x=x)
    call, dy, x = _check_conv.transposed_backward_weight(
        op, work["dy"], work["x"], weight_shape, output_padding, options)
    return _transposed_weight(work, call, options, dy, x)


def _transposed_data(work, call, options, dy, weight):
    (plan,) = _planned(work, call, options, "forward")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    with work.start():
        dx, finish = work.result(p.y_shape, p.dtype, p.order, call.to_user)
        plan(work.bring(call.to_kernel(dy)), work.bring(call.filters(weight)), None, dx)
        return finish()


def _transposed_weight(work, call, options, dy, x):
    (plan,) = _planned(work, call, options, "backward_weight")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    with work.start():
        dweight, finish = work.result(p.weight_shape, p.dtype, "nchw", call.weight)
        plan(work.bring(call.to_kernel(x)), work.bring(call.to_kernel(dy)), dweight)
        return finish()


def _transposed_bias(work, call, options, dy):
    n, c, *size = to_kernel(dy, call.layout).shape
    p = conv_problem(n, 1, c, c, [Axis(each, each) for each in size], dtype=call.problem.dtype,
                     order=call.problem.order)
    return _bias(work, call, options, dy, p)


# ---- pooling -----------------------------------------------------------------------------------

INDEX = np.dtype(np.int64)


def pool(op, kind, x, windows, layout, backend, out, return_indices):
    """y, or (y, indices)."""
    work = _Work(op, layout, backend, x=x, out=out)
    call, x = _check_pool.forward(op, kind, work["x"], layout, backend, windows)
    call.backend = "cuda"
    plan, p = _plan.of(call, "forward"), call.problem
    work.same_dtype(p.dtype, "x")
    if out is not None:
        _check.output(op, work["out"], call.y_shape, p.dtype, x=x)
    return_indices = _check.flag(op, "return_indices", return_indices)
    if work.recording:
        return (None, None) if return_indices else None
    with work.start():
        y, finish = work.result(p.y_shape, p.dtype, p.order, call.to_user, out)
        places, finish_places = (work.result(p.y_shape, INDEX, p.order, call.to_user)
                                 if return_indices else (None, None))
        plan(work.bring(call.to_kernel(x)), y, places)
        return (finish(), finish_places()) if return_indices else finish()


def pool_backward(op, kind, dy, x, windows, layout, backend, indices):
    """The gradient with respect to x."""
    is_shape = _check.is_shape(x)
    work = _Work(op, layout, backend, dy=dy, x=None if is_shape else x, indices=indices)
    call, dy, image, places = _check_pool.backward(
        op, kind, work["dy"], x if is_shape else work["x"], work["indices"], layout, backend,
        windows)
    call.backend = "cuda"
    plan, p = _plan.of(call, "backward"), call.problem
    work.same_dtype(p.dtype, "dy", "x")
    work.same_dtype(INDEX, "indices")
    if places is not None:
        image = None
        places = (_check_pool.places(call, places) if work.on_host
                  else to_kernel(places, call.layout))
    if kind == "avg":
        image = None
    if work.recording:
        return None
    with work.start():
        dx, finish = work.result(p.x_shape, p.dtype, p.order, call.to_user)
        if image is not None and kind in EXTREMES and image.dtype != p.dtype:
            places, image = _places(work, call, image), None
        plan(work.bring(call.to_kernel(dy)),
             None if image is None else work.bring(call.to_kernel(image)),
             places if places is None else work.bring(places), dx)
        return finish()


def _places(work, call, image):
    """Where the extremes of an image of the host are, before a cast makes some of them equal."""
    p = changed(call.problem, dtype=_check.common_dtype(image))
    plan = _plan.choose(call.family, p, "forward", None, "numpy")
    places = np.empty(p.y_shape, INDEX)
    plan(_check.cast(to_kernel(image, call.layout), p.dtype), np.empty(p.y_shape, p.dtype), places)
    return places
