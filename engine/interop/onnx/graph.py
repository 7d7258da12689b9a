"""A graph of operators, read from an ONNX model, and what it needs."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnx
import onnx.inliner

import engine.interop.onnx.operators  # noqa: F401  (fills the table)
from engine.interop.onnx.operators.constants import dtype_of, refused_type
from engine.interop.onnx.run import needed, run_node
from engine.interop.onnx.table import OPERATORS, Call, Node, branches, is_real

NOTES = "engine.nn"  # the entry of a file's metadata that says how long its model was trained


class Graph:
    """The nodes of a model in the order they run, and the arrays that are in its file.

    Whatever depends on constants alone is computed once, here.

    Attributes
    ----------
    inputs : dict of str to (dtype, tuple of int or None)
        What must be fed, with sizes that the file leaves open as None.
    outputs : list of str
    constants : dict of str to ndarray
    nodes : list of Node
    """

    def __init__(self, proto: onnx.ModelProto):
        proto = spelt_out(proto)
        faults = _faults(proto)
        if faults:
            raise NotImplementedError("load: the model needs what engine.interop.onnx does not "
                                      f"have: {'; '.join(faults)}")
        self.header, graph = _header(proto), proto.graph
        self.constants = {each.name: onnx.numpy_helper.to_array(each)
                          for each in graph.initializer}
        self.inputs = {each.name: _declared(each) for each in graph.input
                       if each.name not in self.constants}
        self.outputs = [each.name for each in graph.output]
        opset = _opset(proto)
        self.nodes = []
        self._fold([Node.of(each, opset) for each in graph.node])
        self.nodes = needed(self.nodes, self.outputs)
        used = {name for node in self.nodes for name in node.inputs}.union(self.outputs)
        self.constants = {name: value for name, value in self.constants.items() if name in used}

    def _fold(self, nodes: list[Node]) -> None:
        for node in nodes:
            dynamic = any(name and name not in self.constants for name in node.inputs)
            if dynamic or node.op == "Dropout":
                self.nodes.append(node)
            else:
                outputs, _ = run_node(Call(node), self.constants)
                self.constants |= zip(node.outputs, outputs, strict=False)

    @property
    def batch(self) -> int | None:
        """The number of samples the file was written for, if it has one."""
        shape = next((shape for _, shape in self.inputs.values()), None)
        return shape[0] if shape else None

    def weights(self, nodes: list[Node]) -> dict[str, np.ndarray]:
        """The parameters of those nodes: constants with real numbers where an operator has weights.

        A bare number, such as the 255 that pixels are divided by, is none.
        """
        return {name: self.constants[name] for node in nodes
                for position in OPERATORS[node.op].weights
                for name in node.inputs[position:position + 1]
                if name in self.constants and self.constants[name].ndim
                and is_real(self.constants[name].dtype)}

    def proto(self, nodes, output, output_shape, parameters, notes=None) -> onnx.ModelProto:
        """The model as it was read, but with its constants computed, other parameters, and notes.

        If `output` is none of the file's outputs, only `nodes`, those before it, are written.
        Without `parameters`, zeros of their shapes stand in their place, in a few bytes.
        """
        weights = self.weights(nodes)
        outputs = list(self.header.graph.output)
        if output in self.outputs:
            nodes = self.nodes
        else:
            kind = next((each.dtype for each in self.constants.values() if each.dtype.kind == "f"),
                        np.dtype(np.float32))
            outputs = [onnx.helper.make_tensor_value_info(
                output, onnx.helper.np_dtype_to_tensor_dtype(kind), ["N", *output_shape])]
        used = {name for node in nodes for name in node.inputs} & self.constants.keys()
        arrays = {name: np.asarray((parameters or {}).get(name, self.constants[name]),
                                   self.constants[name].dtype) for name in sorted(used)}
        zeros = []
        for name in () if parameters is not None else weights:
            value = onnx.numpy_helper.from_array(np.zeros(1, arrays[name].dtype))
            zeros.append(onnx.helper.make_node("ConstantOfShape", [name + "/shape"], [name],
                                               value=value))
            arrays[name + "/shape"] = np.array(arrays.pop(name).shape, np.int64)
        arrays = [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()]
        graph = onnx.helper.make_graph(
            zeros + [node.proto for node in nodes], self.header.graph.name or "graph",
            [each for each in self.header.graph.input if each.name in self.inputs], outputs, arrays)
        model = onnx.helper.make_model(graph, ir_version=max(self.header.ir_version, 4),
                                       opset_imports=self.header.opset_import,
                                       producer_name="engine")
        if notes is not None:
            onnx.helper.set_model_props(model, {NOTES: json.dumps(notes)})
        return model


def unsupported(proto: onnx.ModelProto) -> list[str]:
    """Everything a model needs and does not find here, each once, with how often it occurs."""
    return _faults(spelt_out(proto))


def spelt_out(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model in known operators: functions, its own and those by which ONNX defines operators
    that are not in the table, are replaced by their bodies.
    """
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    unknown: set = set()
    while True:
        before = unknown
        unknown = {(node.domain, node.op_type) for node in proto.graph.node
                   if Node.of(node, 0).op not in OPERATORS}
        if not unknown or unknown == before:
            break
        try:
            proto = onnx.inliner.inline_selected_functions(proto, sorted(unknown),
                                                           inline_schema_functions=True)
        except RuntimeError:  # the body depends on types that ONNX cannot infer
            break
    return proto


def _faults(proto: onnx.ModelProto) -> list[str]:
    missing = Counter(_missing_operators(proto.graph, _opset(proto)))
    for each in proto.graph.initializer:
        missing[refused_type(each.data_type)] += 1
    for each in (*proto.graph.input, *proto.graph.output):
        kind = each.type.WhichOneof("value")
        missing[refused_type(each.type.tensor_type.elem_type) if kind == "tensor_type"
                else f"an input or output of kind {kind}"] += 1
    missing["sparse initializers"] = len(proto.graph.sparse_initializer)
    return [f"{what} ({count} times)" if count > 1 else what
            for what, count in missing.items() if what and count]


def _header(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model's versions, inputs and outputs; its arrays can then be let go."""
    header = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    header.graph.name = proto.graph.name
    header.graph.input.extend(proto.graph.input)
    header.graph.output.extend(proto.graph.output)
    return header


def _missing_operators(graph: onnx.GraphProto, opset: int):
    for each in graph.node:
        node = Node.of(each, opset)
        if node.op not in OPERATORS:
            yield f"operator {node.op}"
            continue
        reason = OPERATORS[node.op].refuses(node)
        if reason:
            yield f"operator {node.op} with {reason}"
        for branch in branches(each):
            yield from _missing_operators(branch, opset)


def _opset(proto: onnx.ModelProto) -> int:
    return max((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")),
               default=1)


def _declared(value: onnx.ValueInfoProto):
    tensor = value.type.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(size.dim_value if size.HasField("dim_value") else None
                      for size in tensor.shape.dim)
    return dtype_of(tensor.elem_type), shape
