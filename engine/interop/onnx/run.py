"""One pass through nodes, forward, and the way back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.interop.onnx.table import OPERATORS, Call, Node


def needed(nodes: list[Node], outputs: list[str]) -> list[Node]:
    """Only the nodes those outputs depend on, each with the arrays that end with it."""
    alive, kept = set(outputs), []
    for node in reversed(nodes):
        if alive.isdisjoint(node.outputs):
            continue
        names = {*node.inputs, *node.outputs} - {""}
        kept.append(replace(node, spent=tuple(names - alive)))
        alive |= names
    return kept[::-1]


def run_node(call: Call, values: dict[str, np.ndarray]):
    """A node's outputs, always a tuple, and its backward."""
    node = call.node
    inputs = [values[name] if name else None for name in node.inputs]
    try:
        with np.errstate(all="ignore"):  # infinities and NaN are results like others
            outputs, backward = OPERATORS[node.op].run(call, *inputs)
    except (TypeError, ValueError, IndexError) as error:
        shapes = ", ".join("none" if each is None else f"{each.dtype} {each.shape}"
                           for each in inputs)
        fixed = call.batch and f" (the file was written for {call.batch[0]} samples at a time)"
        raise ValueError(f"{node.label} on {shapes}: {error}{fixed or ''}") from error
    return outputs if isinstance(outputs, tuple) else (np.asarray(outputs),), backward


class Run:
    """One pass through the nodes, which remembers what the way back needs.

    Parameters
    ----------
    nodes : list of Node
    values : dict of str to ndarray
        Every array by name: constants, parameters and inputs; the results are added.
    learned : iterable of str
        The names of parameters, if gradients will be asked for.
    followed : iterable of str
        The names of inputs, likewise.
    batch, rng
        As in `Call`.
    frozen : int
        How many of the nodes run as outside training.
    """

    def __init__(self, nodes, values, learned=(), followed=(), batch=None, rng=None,
                 frozen=0):
        self.values = values
        self.learned, self.followed = set(learned), set(followed)  # and what depends on them
        self.tape = []
        for i, node in enumerate(nodes):
            call = Call(node, rng if i >= frozen else None, batch)
            if call.training:
                call.wants = self._wants(node, self.learned | self.followed)
            outputs, backward = run_node(call, values)
            values |= zip(node.outputs, outputs, strict=False)
            if call.wants and backward:
                self.tape.append((call, [each.shape for each in outputs], backward))
                for group in self.learned, self.followed:
                    if not group.isdisjoint(node.inputs):
                        group |= set(node.outputs) - {""}
            for name in node.spent:
                values.pop(name, None)

    @staticmethod
    def _wants(node: Node, names: set[str]) -> set[int]:
        return {position for position, name in enumerate(node.inputs) if name in names}

    def backward(self, gradients: dict[str, np.ndarray], of_inputs: bool) -> dict:
        """From gradients of results, by name, to those of parameters, and of inputs if asked."""
        names = self.learned | self.followed if of_inputs else self.learned
        gradients = dict(gradients)
        while self.tape:
            call, shapes, backward = self.tape.pop()
            outputs = call.node.outputs[:len(shapes)]
            call.wants = self._wants(call.node, names)
            dys = [gradients.pop(name, None) for name in outputs]
            if not call.wants or all(dy is None for dy in dys):
                continue
            dtype = next(dy.dtype for dy in dys if dy is not None)
            dys = [np.zeros(shape, dtype) if dy is None else dy
                   for dy, shape in zip(dys, shapes, strict=False)]
            with np.errstate(all="ignore"):
                dxs = backward(*dys)
            dxs = dxs if isinstance(dxs, tuple) else (dxs,)
            for position in call.wants:
                name, dx = call.node.inputs[position], dxs[position]
                if dx is not None:
                    gradients[name] = gradients[name] + dx if name in gradients else dx
        return gradients
