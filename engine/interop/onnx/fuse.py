"""Fewer and faster nodes for inference, while the constants of a graph stay as they are.

A convolution takes the batch normalisation behind it into its weight, and a ReLU behind that into
its own pass; its weight is packed once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from engine.interop.onnx.run import needed
from engine.interop.onnx.table import Node


def fused(nodes: list[Node], constants: dict[str, np.ndarray], outputs: list[str]):
    """The nodes and constants of an equivalent graph without gradients."""
    readers = Counter(outputs)
    for node in nodes:
        readers.update(node.inputs)
    constants = dict(constants)
    makers: dict[str, int] = {}  # the convolution that makes an array, if only one node reads it
    result: list[Node] = []
    for node in nodes:
        place = makers.pop(node.inputs[0], None) if node.inputs else None
        merged = None
        if place is not None:
            conv = result[place]
            merged = _with_batch_norm(conv, node, constants) or _with_relu(conv, node, constants)
        if merged:
            result[place] = node = merged
        else:
            place = len(result)
            if node.op == "Conv" and all(name in constants for name in node.inputs[1:] if name):
                node = replace(node, plans={})
            result.append(node)
        if node.plans is not None and readers[node.outputs[0]] == 1:
            makers[node.outputs[0]] = place
    return needed(result, outputs), constants


def _with_batch_norm(conv: Node, node: Node, constants) -> Node | None:
    """The convolution that gives what the normalisation gives behind it."""
    if (node.op != "BatchNormalization" or node.attributes.get("training_mode", 0)
            or "activation" in conv.attributes
            or not all(name in constants for name in node.inputs[1:])):
        return None
    scale, shift, mean, var = (constants[name] for name in node.inputs[1:])
    weight = constants[conv.inputs[1]]
    factor = scale / np.sqrt(var + node.attributes.get("epsilon", 1e-5))
    bias = constants[conv.inputs[2]] if len(conv.inputs) > 2 and conv.inputs[2] else 0
    names = [f"{node.outputs[0]}/weight", f"{node.outputs[0]}/bias"]
    by_filter = factor.reshape(-1, *[1] * (weight.ndim - 1))
    constants[names[0]] = (weight * by_filter).astype(weight.dtype)
    constants[names[1]] = (shift + (bias - mean) * factor).astype(weight.dtype)
    return replace(conv, inputs=(conv.inputs[0], *names), outputs=node.outputs[:1], plans={})


def _with_relu(conv: Node, node: Node, constants) -> Node | None:
    """The convolution that applies the activation behind it to its results."""
    if "activation" in conv.attributes:
        return None
    if node.op == "Relu":
        name = "relu"
    elif node.op == "Clip" and _bounds(node, constants) == (0, 6):
        name = "relu6"
    else:
        return None
    return replace(conv, attributes=conv.attributes | {"activation": name}, outputs=node.outputs,
                   plans={})


def _bounds(node: Node, constants):
    given = [constants.get(name) for name in node.inputs[1:]] + [None, None]
    return tuple(node.attributes.get(name) if value is None else float(value)
                 for name, value in zip(("min", "max"), given[:2], strict=True))
