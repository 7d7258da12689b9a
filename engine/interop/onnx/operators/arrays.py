"""Operators that move elements: shapes, axes, joining, cutting and padding."""

from __future__ import annotations

import math

import numpy as np

from engine.interop.onnx.table import operator, unbroadcast


@operator("Identity")
def identity(call, x):
    return x, lambda dy: dy


@operator("Flatten")
def flatten(call, x):
    axis = call.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    y = x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return y, lambda dy: dy.reshape(x.shape)


@operator("Reshape")
def reshape(call, x, shape=None):
    target = list(call.ints("shape", shape))
    if not call.get("allowzero", 0):
        target = [size or x.shape[i] for i, size in enumerate(target)]
    if call.batch and target and target[0] == call.batch[0] and x.shape[:1] == call.batch[1:]:
        target[0] = call.batch[1]  # the number of samples that stands in the file
    return x.reshape(target), lambda dy: (dy.reshape(x.shape), None)


@operator("Squeeze")
def squeeze(call, x, axes=None):
    axes = call.ints("axes", axes)
    y = np.squeeze(x, None if axes is None else tuple(axes))
    return y, lambda dy: (dy.reshape(x.shape), None)


@operator("Unsqueeze")
def unsqueeze(call, x, axes=None):
    y = np.expand_dims(x, tuple(call.ints("axes", axes)))
    return y, lambda dy: (dy.reshape(x.shape), None)


@operator("Transpose")
def transpose(call, x):
    order = call.get("perm", range(x.ndim)[::-1])
    return x.transpose(order), lambda dy: dy.transpose(np.argsort(order))


@operator("Concat")
def concat(call, *arrays):
    axis = call.get("axis", 1)  # version 1 had a default
    ends = np.cumsum([each.shape[axis] for each in arrays])[:-1]
    return np.concatenate(arrays, axis), lambda dy: tuple(np.split(dy, ends, axis))


@operator("Split")
def split(call, x, sizes=None):
    axis = call.get("axis", 0)
    sizes = call.ints("split", sizes)
    if sizes is None:  # equal parts, the last one smaller if need be
        parts = call.get("num_outputs", len(call.node.outputs))
        each = -(-x.shape[axis] // parts)
        sizes = [each] * (parts - 1) + [x.shape[axis] - each * (parts - 1)]
    y = np.split(x, np.cumsum(sizes)[:-1], axis)
    return tuple(y), lambda *dys: (np.concatenate(dys, axis), None)


@operator("Slice")
def cut(call, x, starts=None, ends=None, axes=None, steps=None):
    starts, ends = call.ints("starts", starts), call.ints("ends", ends)
    axes = call.ints("axes", axes, range(len(starts)))
    steps = call.ints("steps", steps, [1] * len(starts))
    places = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shape[axis]
        if step < 0 and end < -size:
            end = None  # down to the first element: NumPy has no number for that
        places[axis] = slice(start, end, step)
    places = tuple(places)

    def backward(dy):
        dx = np.zeros_like(x)
        dx[places] = dy
        return dx, None, None, None, None
    return x[places], backward


def _unknown_mode(node):
    mode = node.attributes.get("mode", "constant")
    return None if mode in ("constant", "reflect", "edge", "wrap") else f"mode={mode}"


@operator("Pad", refuses=_unknown_mode)
def pad(call, x, pads=None, value=None, axes=None):
    pads = call.ints("pads", pads) or call.get("paddings")
    value = call.get("value", 0) if value is None else value
    axes = [axis % x.ndim for axis in call.ints("axes", axes, range(x.ndim))]
    half = len(pads) // 2
    widths = [(0, 0)] * x.ndim
    for axis, before, after in zip(axes, pads[:half], pads[half:], strict=True):
        widths[axis] = before, after
    inner = tuple(slice(max(0, -before), size - max(0, -after))  # a negative pad cuts off
                  for (before, after), size in zip(widths, x.shape, strict=True))
    widths = [(max(0, before), max(0, after)) for before, after in widths]
    mode = call.get("mode", "constant")
    extra = {"constant_values": np.asarray(value, x.dtype)} if mode == "constant" else {}

    def backward(dy):
        if mode != "constant":  # where every element of y came from
            sources = np.pad(np.arange(x.size).reshape(x.shape)[inner], widths, mode=mode)
            dx = np.bincount(sources.ravel(), dy.ravel(), x.size)
            return dx.reshape(x.shape).astype(dy.dtype), None, None, None
        dx = np.zeros_like(x)
        dx[inner] = dy[tuple(slice(before, size - after)
                             for (before, after), size in zip(widths, dy.shape, strict=True))]
        return dx, None, None, None
    return np.pad(x[inner], widths, mode=mode, **extra), backward


@operator("Expand")
def expand(call, x, shape):
    shape = np.broadcast_shapes(x.shape, tuple(int(each) for each in shape))
    return np.broadcast_to(x, shape), lambda dy: (unbroadcast(dy, x.shape), None)


@operator("Tile")
def tile(call, x, repeats):
    repeats = [int(each) for each in repeats]

    def backward(dy):
        pairs = [size for pair in zip(repeats, x.shape, strict=True) for size in pair]
        return dy.reshape(pairs).sum(axis=tuple(range(0, 2 * x.ndim, 2))), None
    return np.tile(x, repeats), backward


@operator("DepthToSpace")
def depth_to_space(call, x):
    """Blocks of channels become squares of pixels (Shi et al. 2016, section 2.2)."""
    n, c, h, w = x.shape
    b = call["blocksize"]
    if call.get("mode", "DCR") == "DCR":
        split_shape, order = (n, b, b, c // b**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split_shape, order = (n, c // b**2, b, b, h, w), (0, 1, 4, 2, 5, 3)
    blocks = x.reshape(split_shape).transpose(order)
    y = blocks.reshape(n, c // b**2, h * b, w * b)
    return y, lambda dy: dy.reshape(blocks.shape).transpose(np.argsort(order)).reshape(x.shape)


@operator("SpaceToDepth")
def space_to_depth(call, x):
    n, c, h, w = x.shape
    b = call["blocksize"]
    order = (0, 3, 5, 1, 2, 4) if call.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    blocks = x.reshape(n, c, h // b, b, w // b, b).transpose(order)
    y = blocks.reshape(n, c * b * b, h // b, w // b)
    return y, lambda dy: dy.reshape(blocks.shape).transpose(np.argsort(order)).reshape(x.shape)


@operator("Trilu")
def triangle(call, x, k=None):
    keep = np.triu if call.get("upper", 1) else np.tril
    k = 0 if k is None else int(k)
    return keep(x, k), lambda dy: (keep(dy, k), None)
