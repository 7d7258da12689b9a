"""MaxPool, AveragePool, LpPool, the global ones and MaxUnpool: the pools of `engine`."""

from __future__ import annotations

import math

import numpy as np

import engine
from engine.interop.onnx.operators.convolution import padding, spatial_rank
from engine.interop.onnx.table import Call, operator


def windows(call: Call, rank: int) -> dict:
    return dict(kernel_size=call["kernel_shape"], stride=call.get("strides", [1] * rank),
                padding=padding(call, rank), dilation=call.get("dilations", [1] * rank),
                ceil_mode=bool(call.get("ceil_mode", 0)))


@operator("MaxPool")
def max_pool(call, x):
    rank = spatial_rank(call, x)
    options = windows(call, rank)
    pool = getattr(engine, f"max_pool{rank}d")
    if not call.wants and len(call.node.outputs) == 1:
        return pool(x, **options), None
    y, indices = pool(x, return_indices=True, **options)

    def backward(dy, _=None):
        return getattr(engine, f"max_pool{rank}d_backward")(dy, x.shape, indices=indices,
                                                            **options)
    if len(call.node.outputs) == 1:
        return y, backward
    return (y, _in_tensor(indices, x.shape, call.get("storage_order", 0))), backward


def _in_tensor(indices: np.ndarray, shape, column_major: int) -> np.ndarray:
    """engine counts the places in a plane, ONNX those in the whole tensor."""
    plane = shape[2:]
    if column_major:
        indices = np.ravel_multi_index(np.unravel_index(indices, plane), plane, order="F")
    planes = np.arange(math.prod(shape[:2])).reshape(*shape[:2], *[1] * len(plane))
    return indices + planes * math.prod(plane)


@operator("AveragePool", "LpPool")
def averaging_pool(call, x):
    rank = spatial_rank(call, x)
    options = windows(call, rank)
    if call.node.op == "LpPool":
        name = f"lp_pool{rank}d"
        options["p"] = call.get("p", 2)
    else:
        name = f"avg_pool{rank}d"
        options["count_include_pad"] = bool(call.get("count_include_pad", 0))

    def backward(dy):
        return getattr(engine, name + "_backward")(dy, x, **options)
    return getattr(engine, name)(x, **options), backward


@operator("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
def global_pool(call, x):
    kind = {"GlobalMaxPool": "max", "GlobalAveragePool": "avg", "GlobalLpPool": "lp"}[call.node.op]
    name = f"global_{kind}_pool{spatial_rank(call, x)}d"
    options = {"p": call.get("p", 2)} if kind == "lp" else {}

    def backward(dy):
        return getattr(engine, name + "_backward")(dy, x, **options)
    return getattr(engine, name)(x, **options), backward


@operator("MaxUnpool")
def max_unpool(call, x, indices, output_shape=None):
    rank = spatial_rank(call, x)
    options = dict(kernel_size=call["kernel_shape"], stride=call.get("strides", [1] * rank))
    pads = padding(call, rank)
    plane = [(n - 1) * s + k - sum(pad) for n, s, k, pad in
             zip(x.shape[2:], options["stride"], options["kernel_size"], pads, strict=True)]
    places = indices % math.prod(plane)
    if output_shape is not None:  # the indices are still those into the smaller plane
        size = [int(each) for each in output_shape[-rank:]]
        places = np.ravel_multi_index(np.unravel_index(places, plane), size)
        plane = size
    options["output_size"] = plane
    y = getattr(engine, f"max_unpool{rank}d")(x, places, **options)

    def backward(dy):
        return getattr(engine, f"max_unpool{rank}d_backward")(dy, x, places, **options), None
    return y, backward
