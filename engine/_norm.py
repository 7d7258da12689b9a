"""What the functions of batch normalisation do: check, plan, run.

Images have any number of axes.  Kernels see (n, c, pixels): one contiguous piece of memory, with
the pixels of a plane side by side or the channels of a pixel (and then all pixels count as those
of one image).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from numbers import Real

import numpy as np

from engine import _check, _device, _device_norm, _plan, _recall
from engine._memory import empty_output
from engine._problem import NormProblem

ACTIVATIONS = ("relu",)


@dataclass(slots=True)
class NormCall:
    """A checked call, and how the arrays of the user map to those of the kernels."""

    problem: NormProblem
    shape: tuple[int, ...]
    axes: tuple[int, ...]  # from the user's axes to those in memory
    backend: str | None
    plans: dict = field(default_factory=dict)

    def run(self, direction: str, *arrays) -> None:
        plan = self.plans.get(direction)
        if plan is None:
            plan = self.plans[direction] = _plan.choose("norm", self.problem, direction, None,
                                                        self.backend)
        plan(*arrays)

    def flat(self, images: np.ndarray | None) -> np.ndarray | None:
        """Images as kernels see them; copied only if their memory is in another order."""
        if images is None:
            return None
        p = self.problem
        images = np.ascontiguousarray(_check.cast(images, p.dtype).transpose(self.axes))
        if p.order == "nchw":
            return images.reshape(p.n, p.c, p.pixels)
        return images.reshape(p.pixels, p.c).T[None]

    def vector(self, values: np.ndarray | None) -> np.ndarray | None:
        """Values per channel, contiguous."""
        if values is None:
            return None
        return np.ascontiguousarray(_check.cast(values, self.problem.dtype))

    def new(self) -> np.ndarray:
        """An array of the user for a result."""
        memory = empty_output(tuple(self.shape[axis] for axis in self.axes), self.problem.dtype,
                              "nchw")
        return memory.transpose(np.argsort(self.axes))

    def new_vector(self) -> np.ndarray:
        return np.empty(self.problem.c, self.problem.dtype)


def check(op, images, vectors, *, axis, backend, epsilon=0.0, activation=None):
    """The checked call, and the dicts with arrays in place of array_likes."""
    options = (axis, backend, epsilon, activation)
    arrays = (*images.values(), *vectors.values())
    key = _recall.key(op, arrays, options)
    call = _recall.calls.get(key)
    if call is not None:
        return call, images, vectors
    images, vectors = ({name: value if value is None else _check.array(op, name, value)
                        for name, value in group.items()} for group in (images, vectors))
    _check.option(op, "activation", activation, ACTIVATIONS, optional=True)
    if isinstance(epsilon, bool) or not isinstance(epsilon, Real) or not epsilon >= 0:
        raise ValueError(f"{op}: `epsilon` is {_check.show(epsilon)}, expected a number from 0")
    x = images["x"]
    if x.ndim < 2:
        raise ValueError(f"{op}: `x` has {x.ndim} dimensions, expected at least 2 (N, C, ...)")
    if axis not in (1, -1, x.ndim - 1) or isinstance(axis, bool):
        raise ValueError(f"{op}: `axis` is {_check.show(axis)}, expected 1 or -1")
    for name, image in images.items():
        if image is not None:
            _check.shaped(op, name, image.shape, x.shape)
    for name, vector in vectors.items():
        if vector is not None:
            _check.shaped(op, name, vector.shape, (x.shape[axis],))
    dtype = _check.common_dtype(*(each for each in (*images.values(), *vectors.values())
                                  if each is not None))
    if not _check.is_float(dtype):
        dtype = np.dtype(np.float64)
    call = _call(x, axis % x.ndim, dtype, float(epsilon), activation,
                 _check.backend(op, backend))
    _recall.keep(key, call, options)
    return call, images, vectors


def _call(x, axis, dtype, epsilon, activation, backend) -> NormCall:
    others = tuple(each for each in range(1, x.ndim) if each != axis)
    last = (0, *others, axis)
    pixels = prod(x.shape[each] for each in others)
    if pixels == 1 or x.transpose(last).flags.c_contiguous:
        problem = NormProblem(1, x.shape[axis], x.shape[0] * pixels, dtype, "nhwc", epsilon,
                              activation)
        return NormCall(problem, x.shape, last, backend)
    problem = NormProblem(x.shape[0], x.shape[axis], pixels, dtype, "nchw", epsilon, activation)
    return NormCall(problem, x.shape, (0, axis, *others), backend)


def moments(op, x, axis, backend):
    """Mean and variance of each channel."""
    if _device.wanted(backend, x):
        return _device_norm.moments(op, x, axis, backend)
    call, images, _ = check(op, {"x": x}, {}, axis=axis, backend=backend)
    if images["x"].size == 0:
        raise ValueError(f"{op}: `x` has shape {call.shape}, expected at least one element")
    mean, variance = call.new_vector(), call.new_vector()
    call.run("moments", call.flat(images["x"]), mean, variance)
    return mean, variance


def forward(op, x, residual, vectors, epsilon, activation, axis, out, backend):
    """y."""
    if _device.wanted(backend, x):
        return _device_norm.forward(op, x, residual, *vectors.values(), epsilon, activation, axis,
                                    out, backend)
    call, images, vectors = check(op, {"x": x, "residual": residual}, vectors, axis=axis,
                                  backend=backend, epsilon=epsilon, activation=activation)
    x, residual = images.values()
    if out is not None:
        _check.output(op, out, call.shape, call.problem.dtype, **images, **vectors)
    y = call.new() if out is None else out
    if y.size == 0:
        return y
    result = call.flat(y)
    call.run("forward", call.flat(x), *map(call.vector, vectors.values()), call.flat(residual),
             result)
    if not np.may_share_memory(result, y):  # out is in another memory order
        memory = result if call.problem.order == "nchw" else result[0].T
        y.transpose(call.axes)[...] = memory.reshape([call.shape[axis] for axis in call.axes])
    return y


def backward_weight(op, dy, x, vectors, epsilon, activation, axis, backend):
    """dweight, dbias."""
    if _device.wanted(backend, dy, x):
        return _device_norm.backward_weight(op, dy, x, *vectors.values(), epsilon, activation,
                                            axis, backend)
    call, images, vectors = check(op, {"dy": dy, "x": x}, vectors, axis=axis, backend=backend,
                                  epsilon=epsilon, activation=activation)
    dweight, dbias = call.new_vector(), call.new_vector()
    call.run("backward_weight", *map(call.flat, images.values()),
             *map(call.vector, vectors.values()), dweight, dbias)
    return dweight, dbias


def backward_data(op, dy, x, vectors, count, epsilon, activation, axis, backend):
    """dx."""
    if _device.wanted(backend, dy, x):
        return _device_norm.backward_data(op, dy, x, *vectors.values(), count, epsilon, activation,
                                          axis, backend)
    call, images, vectors = check(op, {"dy": dy, "x": x}, vectors, axis=axis, backend=backend,
                                  epsilon=epsilon, activation=activation)
    p = call.problem
    count = p.n * p.pixels if count is None else _check.integer(op, "count", count, 1)
    dx = call.new()
    if dx.size:
        call.run("backward_data", *map(call.flat, images.values()),
                 *map(call.vector, vectors.values()), count, call.flat(dx))
    return dx
