"""engine behind ONNX's own interface for backends, by which its test suite runs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx.backend.base import Backend as Base
from onnx.backend.base import BackendRep

from engine.interop.onnx.fuse import fused
from engine.interop.onnx.graph import Graph, unsupported
from engine.interop.onnx.run import Run


class Prepared(BackendRep):
    """A model that is ready to run."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.nodes, self.constants = fused(graph.nodes, graph.constants, graph.outputs)

    def run(self, inputs, **kwargs):
        """The outputs for inputs in the order the model declares them, or by name."""
        names = list(self.graph.inputs)
        if isinstance(inputs, dict):
            given = inputs
        elif isinstance(inputs, (list, tuple)):
            given = dict(zip(names, inputs, strict=False))
        else:
            given = {names[0]: inputs}
        if set(given) != set(names):
            raise ValueError(f"run: `inputs` are {sorted(given)}, expected {sorted(names)}")
        values = self.constants | {name: np.asarray(value) for name, value in given.items()}
        Run(self.nodes, values)
        return tuple(values[name] for name in self.graph.outputs)


class Backend(Base):
    """`onnx.backend.base.Backend` with engine inside: prepare, run_model, run_node."""

    @classmethod
    def is_compatible(cls, model, device="CPU", **kwargs):
        return cls.supports_device(device) and not unsupported(model)

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        """Check a model, compute its constants, and keep it ready."""
        super().prepare(model, device, **kwargs)
        return Prepared(Graph(model))

    @classmethod
    def run_node(cls, node, inputs, device="CPU", outputs_info=None, **kwargs):
        """Run one operator; `opset_version` as a keyword, by default the newest."""
        super().run_node(node, inputs, device, outputs_info, **kwargs)
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        names = [name for name in dict.fromkeys(node.input) if name]
        values = ([inputs[name] for name in names] if isinstance(inputs, dict)
                  else [np.asarray(each) for each in inputs])
        graph = onnx.helper.make_graph(
            [node], "node",
            [onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
             for name, value in zip(names, values, strict=True)],
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
             for name in node.output if name])
        model = onnx.helper.make_model(graph, opset_imports=[
            onnx.helper.make_opsetid(node.domain, version)])
        return Prepared(Graph(model)).run(values)

    @classmethod
    def supports_device(cls, device):
        return device.partition(":")[0] == "CPU"
