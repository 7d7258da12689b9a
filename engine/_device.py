"""Calls on CUDA arrays, and on NumPy arrays with ``backend="cuda"``: the same checks and planner.

The checks look at CUDA arrays as ndarrays that are never read; what differs from the host is who
makes results, and that no kernel argument is cast or padded beforehand.  NumPy arrays are copied to
the device and results back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from marshal import dumps
from math import prod
from typing import NamedTuple

import numpy as np

from engine import _check, _check_conv, _check_pool, _config, _plan, _recall
from engine._axes import to_kernel
from engine._check_conv import Options
from engine._check_pool import EXTREMES
from engine._problem import Axis, changed, conv_problem


def wanted(backend, *arrays) -> bool:
    """Whether a call is for the device: it was asked for, or an array is there."""
    if backend == "cuda" or _config.mode.get().backend == "cuda":
        return True
    return any(type(each) is not np.ndarray and _arrays().is_cuda(each) for each in arrays)


@cache
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

    def run(self, key, plan, inputs: dict, *results: Result | None, out=None):
        """Carry out a plan: kernels' arrays by name, and what it is to make; returns the latter.

        The last result goes to `out` where that is given.
        """
        from engine.kernels.cuda_support import driver, launch

        ordinal = 0 if self.on_host else self.ordinal
        device = driver.device(ordinal)
        device.enter()
        recorder = launch.Recorder(device)

        def placed(shape, strides, dtype):
            return _arrays().at(recorder.place(), shape, strides, dtype)

        inputs = {name: self.compact(each) for name, each in inputs.items()}
        taken = [None if each is None else placed(each.shape, each.strides, each.dtype)
                 for each in inputs.values()]
        target = to_kernel(self["out"], self.layout) if out is not None and not self.on_host else (
            None)
        made = [None if each is None else
                placed(each.shape, each.strides if target is None else target.strides, each.dtype)
                for each in results]
        with launch.recording(recorder):
            plan(*taken, *made)
        names = [name for name, each in inputs.items() if each is not None]
        results = [each for each in results if each is not None]
        if self.on_host:
            return self._on_host(device, recorder.replay(), [inputs[name] for name in names],
                                 results, out)
        stream = self.owner.stream(ordinal)
        for other in {each.stream for each in self.seen.values()} - {stream}:
            device.wait(stream, other)
        addresses = [_address(self.views[name]) for name in names]
        if target is not None:
            recorder.replay()(device, stream, [*addresses, _address(target)],
                              lambda nbytes: self.owner.scratch(nbytes, ordinal))
            return [out]
        makers = [self.owner.maker(*each.of_user(), ordinal) for each in results]
        step = Step(plan, recorder.replay(), device, ordinal, self.owner, names, makers)
        if key is not None:
            _keep(*key, step)
        return step.carry_out(stream, addresses)

    def _on_host(self, device, replay, inputs, results, out):
        """Copy what is read to the device, and what is made back."""
        kept, addresses = [], []

        def memory(nbytes):
            address, owner = device.scratch(max(nbytes, 1))
            kept.append(owner)
            return address

        for compact in inputs:
            addresses.append(memory(compact.nbytes))
            device.copy_in(addresses[-1], _flat(compact))
        places = [memory(prod(each.shape) * each.dtype.itemsize) for each in results]
        replay(device, 0, [*addresses, *places], device.scratch)
        found = []
        for place, each in zip(places, results, strict=True):
            flat = np.empty(prod(each.shape), each.dtype)
            device.copy_out(flat, place)
            found.append(each.user(np.lib.stride_tricks.as_strided(flat, each.shape,
                                                                   each.strides)))
        if out is not None:
            out[...] = found[-1]
            found[-1] = out
        return found

    def compact(self, array):
        """An input as it will be on the device: where it is, or copied without gaps."""
        return array.copy(order="K") if self.on_host and array is not None else array


class Result(NamedTuple):
    """What a plan makes: as kernels write it, and what turns that into an array of the user."""

    shape: tuple[int, ...]
    dtype: np.dtype
    order: str
    user: Callable

    @property
    def strides(self) -> tuple[int, ...]:
        axes = list(range(len(self.shape)))
        if self.order == "nhwc":
            axes = [0, *axes[2:], 1]
        strides, step = [0] * len(axes), self.dtype.itemsize
        for axis in reversed(axes):
            strides[axis] = step
            step *= max(self.shape[axis], 1)
        return tuple(strides)

    def of_user(self):
        """Shape, strides and dtype of the user's array."""
        one = np.empty(1, self.dtype)
        array = self.user(np.lib.stride_tricks.as_strided(one, self.shape, self.strides))
        return array.shape, array.strides, self.dtype


class Step(NamedTuple):
    """A computation that can be carried out again, for CUDA arrays of the same kind."""

    plan: Callable
    replay: Callable
    device: object
    ordinal: int
    owner: object
    names: list[str]  # of the arrays that it takes
    makers: list[Callable]  # of the results

    def carry_out(self, stream, addresses):
        """The results, in memory of their owner."""
        results = [make() for make in self.makers]
        addresses += map(self.owner.address, results)
        self.replay(self.device, stream, addresses, self._scratch)
        return results

    def _scratch(self, nbytes):
        return self.owner.scratch(nbytes, self.ordinal)

    def again(self, arrays: dict):
        """The same for other arrays, by name."""
        self.device.enter()
        _plan.ran(self.plan)
        address = self.owner.address
        return self.carry_out(self.owner.stream(self.ordinal),
                              [address(arrays[name]) for name in self.names])


_steps = _recall.steps  # by key, and by the name of what they make


def _key(op, arrays, options):
    """What identifies a call on arrays of one library, or None where it has to be checked."""
    mode = _config.mode.get()
    if mode.record is not None or _config.verbose:
        return None
    parts, owner, owner_of = [op, mode.backend], None, _arrays().owner_of
    for each in arrays:
        if each is None:
            parts.append(None)
            continue
        one = owner_of(type(each))
        if one is None or (owner or one) is not one:
            return None
        owner = one
        parts.append(one.key(each))
    try:
        parts.append(dumps(options, 2))
    except ValueError:
        return None
    key = tuple(parts)
    return key if key in _steps or _recall.plain(options) else None


def _keep(key, name, step):
    if len(_steps) >= _recall.LIMIT:
        _steps.clear()
    _steps.setdefault(key, {})[name] = step


def _known(key, *names):
    """The steps that make these, if all are known."""
    steps = _steps.get(key)
    if steps is None or not all(name in steps for name in names):
        return None
    return [steps[name] for name in names]


def _part(key, name):
    """The key of one thing that a call makes."""
    return None if key is None else (key, name)


def _address(view) -> int:
    return view.__array_interface__["data"][0]


def _flat(compact):
    """The bytes of an array whose elements lie without gaps, in the order of memory."""
    order = np.argsort([-step for step in compact.strides], kind="stable")
    return np.ascontiguousarray(compact.transpose(order)).reshape(-1).view(np.uint8)


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
    key = _key(op, (x, weight, bias), (activation, *options)) if out is None else None
    if known := _known(key, "y"):
        return known[0].again({"x": x, "weight": weight, "bias": bias})[0]
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
    inputs = {"x": call.to_kernel(x), "weight": call.filters(weight),
              "bias": _vector(bias, p.dtype)}
    return work.run(_part(key, "y"), plan, inputs,
                    Result(p.y_shape, p.dtype, p.order, call.to_user), out=out)[0]


def _vector(bias, dtype):
    """bias with an axis, of any stride."""
    return None if bias is None else np.atleast_1d(_check.cast(bias, dtype))


def backward(op, dy, x, weight, options, wrt, result):
    """The gradients named in `wrt`, in a tuple of the type `result`."""
    key = _key(op, (dy, x, weight), options)
    if wrt and (known := _known(key, *wrt)):
        return _again(known, {"dy": dy, "x": x, "weight": weight}, wrt, result)
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, x=x, weight=weight)
    call, dy, x, weight = _check_conv.backward(op, work["dy"], work["x"], work["weight"], options)
    return result(_data(work, key, call, options, dy, weight) if "x" in wrt else None,
                  _weight(work, key, call, options, dy, x) if "weight" in wrt else None,
                  _bias(work, key, call, options, dy) if "bias" in wrt else None)


def _again(known, arrays, wrt, result):
    """The gradients of a call like an earlier one."""
    made = {name: step.again(arrays)[0] for name, step in zip(wrt, known, strict=True)}
    return result(made.get("x"), made.get("weight"), made.get("bias"))


def backward_data(op, dy, weight, x_shape, options):
    """dx."""
    key = _key(op, (dy, weight), (x_shape, *options))
    if known := _known(key, "x"):
        return known[0].again({"dy": dy, "weight": weight})[0]
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, weight=weight)
    call, dy, weight = _check_conv.backward_data(op, work["dy"], work["weight"], x_shape, options)
    return _data(work, key, call, options, dy, weight)


def backward_weight(op, dy, x, weight_shape, options):
    """dweight."""
    key = _key(op, (dy, x), (weight_shape, *options))
    if known := _known(key, "weight"):
        return known[0].again({"dy": dy, "x": x})[0]
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, x=x)
    call, dy, x = _check_conv.backward_weight(op, work["dy"], work["x"], weight_shape, options)
    return _weight(work, key, call, options, dy, x)


def _data(work, key, call, options, dy, weight):
    (plan,) = _planned(work, call, options, "backward_data")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    inputs = {"dy": call.to_kernel(dy), "weight": call.filters(weight)}
    return work.run(_part(key, "x"), plan, inputs,
                    Result(p.x_shape, p.dtype, p.order, call.to_user))[0]


def _weight(work, key, call, options, dy, x):
    (plan,) = _planned(work, call, options, "backward_weight")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    inputs = {"dy": call.to_kernel(dy), "x": call.to_kernel(x)}
    return work.run(_part(key, "weight"), plan, inputs,
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
    return work.run(_part(key, "bias"), plan, {"dy": call.to_kernel(dy)},
                    Result((p.oc,), p.dtype, "nchw", lambda array: array))[0]


# ---- transposed: the problem is that of the convolution whose backward-data it is ---------------

def transposed(op, x, weight, bias, output_padding, activation, options, out):
    """y, which that convolution calls x."""
    key = None
    if out is None:
        key = _key(op, (x, weight, bias), (activation, output_padding, *options))
    if known := _known(key, "y"):
        return known[0].again({"x": x, "weight": weight, "bias": bias})[0]
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
    inputs = {"x": call.to_kernel(x), "weight": call.filters(weight),
              "bias": _vector(bias, p.dtype)}
    return work.run(_part(key, "y"), plan.finished(activation), inputs,
                    Result(p.x_shape, p.dtype, p.order, call.to_user), out=out)[0]


def transposed_backward(op, dy, x, weight, output_padding, options, wrt, result):
    """The gradients named in `wrt`, in a tuple of the type `result`."""
    key = _key(op, (dy, x, weight), (output_padding, *options))
    if wrt and (known := _known(key, *wrt)):
        return _again(known, {"dy": dy, "x": x, "weight": weight}, wrt, result)
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, x=x, weight=weight)
    call, dy, x, weight = _check_conv.transposed_backward(
        op, work["dy"], work["x"], work["weight"], output_padding, options)
    return result(_transposed_data(work, key, call, options, dy, weight) if "x" in wrt else None,
                  _transposed_weight(work, key, call, options, dy, x) if "weight" in wrt else None,
                  _transposed_bias(work, key, call, options, dy) if "bias" in wrt else None)


def transposed_backward_data(op, dy, weight, x_shape, output_padding, options):
    """dx."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, weight=weight)
    call, dy, weight = _check_conv.transposed_backward_data(
        op, work["dy"], work["weight"], x_shape, output_padding, options)
    return _transposed_data(work, None, call, options, dy, weight)


def transposed_backward_weight(op, dy, x, weight_shape, output_padding, options):
    """dweight."""
    options = Options(*options)
    work = _Work(op, options.layout, options.backend, dy=dy, x=x)
    call, dy, x = _check_conv.transposed_backward_weight(
        op, work["dy"], work["x"], weight_shape, output_padding, options)
    return _transposed_weight(work, None, call, options, dy, x)


def _transposed_data(work, key, call, options, dy, weight):
    (plan,) = _planned(work, call, options, "forward")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    inputs = {"dy": call.to_kernel(dy), "weight": call.filters(weight), "bias": None}
    return work.run(_part(key, "x"), plan, inputs,
                    Result(p.y_shape, p.dtype, p.order, call.to_user))[0]


def _transposed_weight(work, key, call, options, dy, x):
    (plan,) = _planned(work, call, options, "backward_weight")
    p = call.problem
    work.same_dtype(p.dtype, "dy", "x", "weight")
    if work.recording:
        return None
    inputs = {"x": call.to_kernel(x), "dy": call.to_kernel(dy)}
    return work.run(_part(key, "weight"), plan, inputs,
                    Result(p.weight_shape, p.dtype, "nchw", call.weight))[0]


def _transposed_bias(work, key, call, options, dy):
    n, c, *size = to_kernel(dy, call.layout).shape
    p = conv_problem(n, 1, c, c, [Axis(each, each) for each in size], dtype=call.problem.dtype,
                     order=call.problem.order)
    return _bias(work, key, call, options, dy, p)


# ---- pooling -----------------------------------------------------------------------------------

INDEX = np.dtype(np.int64)


def pool(op, kind, x, windows, layout, backend, out, return_indices):
    """y, or (y, indices)."""
    key = None
    if out is None:
        key = _key(op, (x,), (return_indices, *windows, layout, backend))
    if known := _known(key, "y"):
        found = known[0].again({"x": x})
        return tuple(found) if len(found) > 1 else found[0]
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
    y = Result(p.y_shape, p.dtype, p.order, call.to_user)
    places = Result(p.y_shape, INDEX, p.order, call.to_user) if return_indices else None
    found = work.run(_part(key, "y"), plan, {"x": call.to_kernel(x)}, y, places, out=out)
    return tuple(found) if return_indices else found[0]


def pool_backward(op, kind, dy, x, windows, layout, backend, indices):
    """The gradient with respect to x."""
    is_shape = _check.is_shape(x)
    key = _key(op, (dy, None if is_shape else x, indices),
               (x if is_shape else None, *windows, layout, backend))
    if known := _known(key, "x"):
        return known[0].again({"dy": dy, "x": x, "indices": indices})[0]
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
    if image is not None and kind in EXTREMES and image.dtype != p.dtype:
        places, image = _places(work, call, image), None
    inputs = {"dy": call.to_kernel(dy), "x": None if image is None else call.to_kernel(image),
              "indices": places}
    return work.run(_part(key, "x"), plan, inputs,
                    Result(p.x_shape, p.dtype, p.order, call.to_user))[0]


def _places(work, call, image):
    """Where the extremes of an image of the host are, before a cast makes some of them equal."""
    p = changed(call.problem, dtype=_check.common_dtype(image))
    plan = _plan.choose(call.family, p, "forward", None, "numpy")
    places = np.empty(p.y_shape, INDEX)
    plan(_check.cast(to_kernel(image, call.layout), p.dtype), np.empty(p.y_shape, p.dtype), places)
    return places
