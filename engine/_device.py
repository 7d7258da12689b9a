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

from engine import _check, _config, _plan, _recall
from engine._axes import to_kernel


def wanted(backend, *arrays) -> bool:
    """Whether a call is for the device: it was asked for, or an array is there."""
    if backend == "cuda" or _config.mode.get().backend == "cuda":
        return True
    for each in arrays:
        if each is not None and type(each) is not np.ndarray and _arrays().is_cuda(each):
            return True
    return False


@cache
def _arrays():
    from engine.kernels.cuda_support import arrays  # only someone with such an array gets here

    return arrays


class Work:
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
        from engine.kernels.cuda_support import launch
        from engine.kernels.cuda_support.strides import at
        from engine.kernels.cuda_support.toolchain import driver

        ordinal = 0 if self.on_host else self.ordinal
        device = driver.device(ordinal)
        device.enter()
        recorder = launch.Recorder(device)

        def placed(shape, strides, dtype):
            return at(recorder.place(), shape, strides, dtype)

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
        others = {each.stream for each in self.seen.values()} - {stream}
        for other in others:
            device.wait(stream, other)
        addresses = [_address(self.views[name]) for name in names]
        if target is not None:
            recorder.replay()(stream, [*addresses, _address(target)],
                              lambda nbytes: self.owner.scratch(nbytes, ordinal, stream))
            found = [out]
        else:
            found = self._made(key, plan, recorder.replay(), device, names, addresses, results)
        for other in others:  # whose arrays may be written once it goes on
            device.wait(other, stream)
        return found

    def _made(self, key, plan, replay, device, names, addresses, results):
        """The results in new arrays; and how to do that again is kept."""
        ordinal = self.ordinal
        makers = [self.owner.maker(*each.of_user(), ordinal) for each in results]
        step = Step(getattr(plan, "plan", plan), replay, device, ordinal, self.owner, names, makers)
        if key is not None:
            _keep(*key, step)
        return step.carry_out(self.owner.stream(ordinal), addresses)

    def _on_host(self, device, replay, inputs, results, out):
        """Copy what is read to the device, and what is made back."""
        from engine.kernels.cuda_support.launch import LEGACY_STREAM as stream
        from engine.kernels.cuda_support.strides import flat_bytes

        kept, addresses = [], []

        def memory(nbytes):
            address, owner = device.scratch(max(nbytes, 1), stream)
            kept.append(owner)
            return address

        for compact in inputs:
            addresses.append(memory(compact.nbytes))
            device.copy_in(addresses[-1], flat_bytes(compact), stream)
        places = [memory(prod(each.shape) * each.dtype.itemsize) for each in results]
        replay(stream, [*addresses, *places], lambda nbytes: device.scratch(nbytes, stream))
        found = []
        for place, each in zip(places, results, strict=True):
            flat = np.empty(prod(each.shape), each.dtype)
            device.copy_out(flat, place, stream)
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
        results = [make(stream) for make in self.makers]
        addresses += map(self.owner.address, results)
        self.replay(stream, addresses,
                    lambda nbytes: self.owner.scratch(nbytes, self.ordinal, stream))
        return results

    def again(self, arrays: dict):
        """The same for other arrays, by name."""
        self.device.enter()
        _plan.ran(self.plan)
        address = self.owner.address
        return self.carry_out(self.owner.stream(self.ordinal),
                              [address(arrays[name]) for name in self.names])


_steps = _recall.steps  # by key, and by the name of what they make


def key_of(op, arrays, options):
    """What identifies a call on arrays of one library, or None where it has to be checked."""
    backend, record = _config.mode.get()
    if record is not None or _config.verbose:
        return None
    parts, owner, owner_of = [op, backend], None, _arrays().owner_of
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


def known(key, *names):
    """The steps that make these, if all are known."""
    steps = _steps.get(key)
    if steps is None:
        return None
    found = [steps.get(name) for name in names]
    return None if None in found else found


def part(key, name):
    """The key of one thing that a call makes."""
    return None if key is None else (key, name)


def _address(view) -> int:
    return view.__array_interface__["data"][0]

