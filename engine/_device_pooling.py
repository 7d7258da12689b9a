"""Pools of CUDA arrays, and of NumPy arrays with ``backend="cuda"``."""

from __future__ import annotations

import numpy as np

from engine import _check, _check_pool, _plan
from engine._axes import to_kernel
from engine._check_pool import EXTREMES
from engine._device import Result, Work, key_of, known, part
from engine._problem import changed

INDEX = np.dtype(np.int64)


def pool(op, kind, x, windows, layout, backend, out, return_indices):
    """y, or (y, indices)."""
    key = None
    if out is None:
        key = key_of(op, (x,), (return_indices, *windows, layout, backend))
    if steps := known(key, "y"):
        found = steps[0].again({"x": x})
        return tuple(found) if len(found) > 1 else found[0]
    work = Work(op, layout, backend, x=x, out=out)
    call, x = _check_pool.forward(op, kind, work["x"], layout, backend, windows)
    call.backend = "cuda"
    plan, p = _plan.of(call, "forward"), call.problem
    work.same_dtype(p.dtype, "x")
    if out is not None:
        _check.output(op, work["out"], call.y_shape, p.dtype, x=x)
    return_indices = _check.flag(op, "return_indices", return_indices)
    if return_indices and call.family == "pool3d":
        raise ValueError(f"{op}: `return_indices` is True, expected False (in 3-D on CUDA)")
    if work.recording:
        return (None, None) if return_indices else None
    y = Result(p.y_shape, p.dtype, p.order, call.to_user)
    places = Result(p.y_shape, INDEX, p.order, call.to_user) if return_indices else None
    found = work.run(part(key, "y"), plan, {"x": call.to_kernel(x)}, y, places, out=out)
    return tuple(found) if return_indices else found[0]


def pool_backward(op, kind, dy, x, windows, layout, backend, indices):
    """The gradient with respect to x."""
    is_shape = _check.is_shape(x)
    key = key_of(op, (dy, None if is_shape else x, indices),
               (x if is_shape else None, *windows, layout, backend))
    if steps := known(key, "x"):
        return steps[0].again({"dy": dy, "x": x, "indices": indices})[0]
    work = Work(op, layout, backend, dy=dy, x=None if is_shape else x, indices=indices)
    call, dy, image, places = _check_pool.backward(
        op, kind, work["dy"], x if is_shape else work["x"], work["indices"], layout, backend,
        windows)
    if places is not None and call.family == "pool3d":
        raise ValueError(f"{op}: `indices` are given, expected none (in 3-D on CUDA)")
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
    return work.run(part(key, "x"), plan, inputs,
                    Result(p.x_shape, p.dtype, p.order, call.to_user))[0]


def _places(work, call, image):
    """Where the extremes of an image of the host are, before a cast makes some of them equal."""
    p = changed(call.problem, dtype=_check.common_dtype(image))
    plan = _plan.choose(call.family, p, "forward", None, "numpy")
    places = np.empty(p.y_shape, INDEX)
    plan(_check.cast(to_kernel(image, call.layout), p.dtype), np.empty(p.y_shape, p.dtype), places)
    return places
