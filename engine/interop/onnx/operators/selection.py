"""Operators that pick or place elements by index: gathers, scatters, the largest few."""

from __future__ import annotations

import numpy as np

from engine.interop.onnx.table import operator


@operator("Gather")
def gather(call, x, indices):
    axis = call.get("axis", 0)

    def backward(dy):
        dx = np.zeros_like(x)
        places = (slice(None),) * (axis % x.ndim) + (indices,)
        np.add.at(dx, places, dy)
        return dx, None
    return np.take(x, indices, axis), backward


def _everywhere(indices: np.ndarray, axis: int) -> tuple:
    """Full index arrays: those given along one axis, the place itself along the others."""
    places = list(np.indices(indices.shape, sparse=True))
    places[axis] = indices
    return tuple(places)


@operator("GatherElements")
def gather_elements(call, x, indices):
    places = _everywhere(indices, call.get("axis", 0))

    def backward(dy):
        dx = np.zeros_like(x)
        np.add.at(dx, places, dy)
        return dx, None
    return x[places], backward


@operator("GatherND")
def gather_nd(call, x, indices):
    """Each row of indices names an element or a part of x, within the same sample."""
    batch = call.get("batch_dims", 0)
    own = np.indices(indices.shape[:batch], sparse=True)
    own = [each.reshape(each.shape + (1,) * (indices.ndim - 1 - batch)) for each in own]
    places = (*own, *np.moveaxis(indices, -1, 0))

    def backward(dy):
        dx = np.zeros_like(x)
        np.add.at(dx, places, dy)
        return dx, None
    return x[places], backward


REDUCTIONS = {"none": None, "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _unknown_reduction(node):
    kind = node.attributes.get("reduction", "none")
    return None if kind in REDUCTIONS else f"reduction={kind}"


def _scatter(call, x, places, updates):
    """A copy of x with the updates at those places, and its gradients."""
    kind = call.get("reduction", "none")
    y = x.copy()
    if REDUCTIONS[kind] is None:
        y[places] = updates
    else:
        REDUCTIONS[kind].at(y, places, updates)

    def backward(dy):
        if kind not in ("none", "add"):
            raise NotImplementedError(f"{call.node.label}: no gradient with `reduction` "
                                      f"{kind!r}, expected 'none' or 'add'")
        dx = dy
        if kind == "none":
            dx = dy.copy()
            dx[places] = 0
        return dx, None, dy[places]
    return y, backward


@operator("ScatterElements", "Scatter", refuses=_unknown_reduction)
def scatter_elements(call, x, indices, updates):
    return _scatter(call, x, _everywhere(indices, call.get("axis", 0)), updates)


@operator("ScatterND", refuses=_unknown_reduction)
def scatter_nd(call, x, indices, updates):
    return _scatter(call, x, tuple(np.moveaxis(indices, -1, 0)), updates)


@operator("OneHot")
def one_hot(call, indices, depth, values):
    depth, axis = int(np.ravel(depth)[0]), call.get("axis", -1)
    indices = indices.astype(np.int64)
    inside = (indices >= -depth) & (indices < depth)
    hot = np.expand_dims(np.where(inside, indices % depth, -1), axis)
    classes = np.arange(depth).reshape(-1, *[1] * ((hot.ndim - 1) if axis == 0 else
                                                   (-axis - 1 if axis < 0
                                                    else hot.ndim - 1 - axis)))
    return np.where(hot == classes, values[1], values[0]).astype(values.dtype), None


@operator("ArgMax", "ArgMin")
def place_of_extreme(call, x):
    axis = call.get("axis", 0)
    find = np.argmax if call.node.op == "ArgMax" else np.argmin
    if call.get("select_last_index", 0):
        y = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis)
    else:
        y = find(x, axis=axis)
    y = np.expand_dims(y, axis) if call.get("keepdims", 1) else y
    return y.astype(np.int64), None


@operator("TopK")
def top_k(call, x, k=None):
    k = call.ints("k", k)
    k = k[0] if isinstance(k, list) else k
    axis = call.get("axis", -1)
    if call.get("largest", 1):  # ties go to the first, whichever end is asked for
        order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    indices = np.take(order, range(k), axis)
    places = _everywhere(indices, axis)

    def backward(dy, _=None):
        dx = np.zeros_like(x)
        dx[places] = dy
        return dx, None
    return (x[places], indices.astype(np.int64)), backward


@operator("NonZero")
def non_zero(call, x):
    return np.array(np.nonzero(np.atleast_1d(x)), np.int64), None


@operator("Compress")
def compress(call, x, condition):
    axis = call.get("axis")
    indices = np.flatnonzero(condition)

    def backward(dy):
        dx = np.zeros_like(x)
        if axis is None:
            dx.reshape(-1)[indices] = dy
        else:
            np.moveaxis(dx, axis, 0)[indices] = np.moveaxis(dy, axis, 0)
        return dx, None
    return np.take(x, indices, axis), backward
