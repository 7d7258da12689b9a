"""If: one of two graphs within the graph."""

from __future__ import annotations

import numpy as np
import onnx

from engine.interop.onnx.run import Run, needed
from engine.interop.onnx.table import Node, operator


@operator("If")
def choose(call, condition, *outer):
    """Runs the branch; the arrays it reads from around it are inputs of the node."""
    graph = call.node.attributes["then_branch" if condition else "else_branch"]
    nodes = [Node.of(each, call.opset) for each in graph.node]
    outputs = [each.name for each in graph.output]
    names = call.node.inputs[1:]
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    values |= zip(names, outer, strict=True)
    learned = [call.node.inputs[position] for position in call.wants]
    run = Run(needed(nodes, outputs), values, learned, batch=call.batch, rng=call.rng)

    def backward(*dys):
        gradients = run.backward(dict(zip(outputs, dys, strict=True)), of_inputs=False)
        return None, *(gradients.get(name) for name in names)
    return tuple(np.asarray(values[name]) for name in outputs), backward
