"""The table of operators, and what an operator's function is given.

An operator is one function.  It gets a `Call` and its inputs as arrays (None for those left out),
and returns its output, or a tuple of outputs, and `backward`: a function of the gradients of the
outputs that returns those of the inputs.  An operator whose outputs have no slope (comparisons,
shapes, rounding) returns None in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx


@dataclass(frozen=True)
class Operator:
    run: Callable
    weights: tuple[int, ...]  # the inputs at which a constant of the file is a parameter
    refuses: Callable[[Node], str | None]  # what it cannot do of what a node asks for


OPERATORS: dict[str, Operator] = {}


def operator(*names: str, weights: tuple[int, ...] = (), refuses=lambda node: None):
    """Enter a function into the table, under the names that ONNX has for it."""
    def enter(function):
        for name in names:
            OPERATORS[name] = Operator(function, weights, refuses)
        return function
    return enter


@dataclass(eq=False)
class Node:
    """A node of the graph: an operator, its attributes, and the names of its arrays."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict
    opset: int
    proto: onnx.NodeProto
    spent: tuple[str, ...] = ()  # the arrays that no later node needs
    plans: dict | None = None  # of a convolution whose weight stays: one for each shape of x

    @classmethod
    def of(cls, proto: onnx.NodeProto, opset: int) -> Node:
        part, proto = proto, onnx.NodeProto()
        proto.CopyFrom(part)  # a part would keep the whole file in memory
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in proto.attribute}
        attributes = {name: value.decode(errors="replace") if isinstance(value, bytes) else value
                      for name, value in attributes.items()}
        inputs = (*proto.input, *captured(proto))
        domain = "" if proto.domain in ("", "ai.onnx") else proto.domain + "."
        return cls(domain + proto.op_type, proto.name, inputs, tuple(proto.output),
                   attributes, opset, proto)

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.op} {(self.name or ', '.join(filter(None, self.outputs)))!r}"


def branches(proto: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs within a node."""
    return [each.g for each in proto.attribute if each.type == onnx.AttributeProto.GRAPH]


def captured(proto: onnx.NodeProto) -> list[str]:
    """What the graphs within a node read from around it."""
    found: dict[str, None] = {}
    for graph in branches(proto):
        known = {each.name for each in (*graph.initializer, *graph.input)}
        for node in graph.node:
            found |= dict.fromkeys(name for name in (*node.input, *captured(node))
                                   if name and name not in known)
            known |= set(node.output)
        found |= dict.fromkeys(each.name for each in graph.output if each.name not in known)
    return list(found)


@dataclass
class Call:
    """One run of a node: its attributes and the circumstances."""

    node: Node
    rng: np.random.Generator | None = None  # given while training
    batch: tuple[int, int] | None = None  # samples the file was written for, and those it gets
    wants: set[int] = field(default_factory=set)  # the inputs of which a gradient is wanted

    def __getitem__(self, name: str):
        if name not in self.node.attributes:
            raise ValueError(f"{self.node.label}: attribute `{name}` is missing, expected it")
        return self.node.attributes[name]

    def get(self, name: str, default=None):
        return self.node.attributes.get(name, default)

    @property
    def opset(self) -> int:
        return self.node.opset

    @property
    def training(self) -> bool:
        return self.rng is not None

    def wanted(self, *names: str) -> list[str]:
        """Those of the names, one for each input, of which a gradient is wanted."""
        return [name for position, name in enumerate(names) if position in self.wants]

    def ints(self, name: str, array: np.ndarray | None, default=None):
        """A list of integers that older versions have as an attribute, newer ones as an input."""
        if array is not None:
            return [int(each) for each in np.ravel(array)]
        return self.get(name, default)


def is_real(dtype: np.dtype) -> bool:
    """Whether its numbers have fractions, and so may have gradients."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


def unbroadcast(dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an array of that shape that was broadcast: summed over all its copies."""
    if dy.shape == shape:
        return dy
    added = dy.ndim - len(shape)
    copied = [added + i for i, size in enumerate(shape) if size == 1 != dy.shape[added + i]]
    return dy.sum(axis=(*range(added), *copied), keepdims=True).reshape(shape)
