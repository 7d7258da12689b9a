"""Models of `engine.nn` as ONNX: each kind of layer has one function here that writes its nodes."""

from __future__ import annotations

import json

import numpy as np
import onnx

from engine import _check
from engine.interop.onnx.graph import NOTES
from engine.interop.onnx.model import OnnxModel
from engine.nn import saving

OPSET, IR_VERSION = 20, 9
EXPORTERS = {}


def export(model, path=None) -> onnx.ModelProto:
    """Write a model as ONNX, version 20 of its operators, for a batch of any size.

    Parameters
    ----------
    model : engine.nn.Model
        With its `input_shape` known.  One of layout "NHWC" takes and gives images in that order.
    path : path-like, optional
        Where to write it; an older file is replaced only by a whole new one.

    Returns
    -------
    onnx.ModelProto
        Checked by ``onnx.checker``.  Its initializers have the names of `model.parameters()`.

    Raises
    ------
    NotImplementedError
        With every layer that ONNX has no operators for.
    """
    if isinstance(model, OnnxModel):
        raise TypeError("export: the model is an OnnxModel, expected one of engine.nn's layers "
                        "(an OnnxModel has `save` and `proto`)")
    model._need_weights("export")
    faults = list(dict.fromkeys(_faults(model)))
    if faults:
        raise NotImplementedError(f"export: no ONNX operators for {'; '.join(faults)}")
    writer = Writer(model)
    x = writer.channels_first("input", len(model.input_shape))
    y = writer.channels_last(write(writer, model, x), len(model.output_shape))
    writer.finish(y, "output")
    graph = onnx.helper.make_graph(
        writer.nodes, model.name or "model",
        [_value("input", model.dtype, model.input_shape)],
        [_value("output", model.dtype, model.output_shape)],
        [onnx.numpy_helper.from_array(np.asarray(value, order="C"), name)
         for name, value in writer.arrays.items()])
    proto = onnx.helper.make_model(graph, producer_name="engine", ir_version=IR_VERSION,
                                   opset_imports=[onnx.helper.make_opsetid("", OPSET)])
    notes = {"epochs_done": model.epochs_done, "metadata": model.metadata}
    onnx.helper.set_model_props(proto, {NOTES: json.dumps(notes)})
    onnx.checker.check_model(proto, full_check=True)
    if path is not None:
        saving.write_whole(path, proto.SerializeToString())
    return proto


def _value(name: str, dtype: str, shape) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_value_info(name, kind, ["N", *shape])


def _faults(layer):
    """What of a layer, or within it, cannot be written."""
    kind = type(layer).__name__
    if kind not in EXPORTERS:
        yield f"layer {kind}"
    elif kind == "LocalResponseNorm" and layer.size % 2 == 0:
        yield f"{layer.title} with an even `size`"
    elif "Lp" in kind and int(layer.p) != layer.p:
        yield f"{layer.title} with p={layer.p}, which is no integer"
    elif kind == "OnnxModel" and any(node.op == "If" for node in layer.path):
        yield f"{layer.title} with an If"
    else:
        for child in () if kind in ("OnnxModel", "Auxiliary") else layer.children:
            yield from _faults(child)


class Writer:
    """Gathers nodes and arrays; images are channels-first in between, whatever the model's layout.
    """

    def __init__(self, model):
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.names = {id(value): name for name, value in model.arrays()}
        self.layout, self.dtype = model.layout, model.dtype
        self.scope = ""

    def add(self, op: str, inputs, output: str | None = None, **attributes) -> str:
        """A node with one output, whose name is returned."""
        output = output or f"{self.scope}{op}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def finish(self, y: str, output: str) -> None:
        """Give y the name of the output."""
        if y == "input":
            self.add("Identity", [y], output=output)
            return
        for node in self.nodes:
            for names in node.input, node.output:
                names[:] = [output if name == y else name for name in names]

    def array(self, value, name: str = "") -> str:
        """An array, under the name that the model has for it."""
        name = self.names.get(id(value)) or f"{self.scope}{name}_{len(self.nodes)}"
        self.arrays[name] = np.asarray(value)
        return name

    def channels_first(self, x: str, rank: int) -> str:
        if self.layout == "NCHW" or rank < 2:
            return x
        return self.add("Transpose", [x], perm=[0, rank, *range(1, rank)])

    def channels_last(self, x: str, rank: int) -> str:
        if self.layout == "NCHW" or rank < 2:
            return x
        return self.add("Transpose", [x], perm=[0, *range(2, rank + 1), 1])

    def plane(self, shape) -> tuple[int, ...]:
        """The spatial axes of a sample of that shape."""
        return shape[1:] if self.layout == "NCHW" else shape[:-1]


def write(writer: Writer, layer, x: str) -> str:
    """The nodes of a layer that reads x; returns the name of its output."""
    outer = writer.scope
    writer.scope += f"{layer.name}/" if layer.name else ""
    y = EXPORTERS[type(layer).__name__](writer, layer, x)
    writer.scope = outer
    return y


def exports(*kinds: str):
    """Enter a function (writer, layer, x) -> y for layers of these kinds."""
    def enter(function):
        EXPORTERS.update(dict.fromkeys(kinds, function))
        return function
    return enter


@exports("Sequential", "SeparableConv2D")
def row(writer, layer, x):
    for child in layer.children:
        x = write(writer, child, x)
    return x


@exports("Concatenate")
def concatenate(writer, layer, x):
    return writer.add("Concat", [write(writer, each, x) for each in layer.children], axis=1)


@exports("Residual")
def residual(writer, layer, x):
    y = writer.add("Add", [write(writer, each, x) for each in layer.children])
    return activation(writer, layer.activation, y)


@exports("Identity", "Auxiliary")
def identity(writer, layer, x):
    return x


@exports("PadChannels")
def pad_channels(writer, layer, x):
    if layer.stride > 1:
        numbers = {"starts": [0, 0], "ends": [2**31] * 2, "axes": [2, 3],
                   "steps": [layer.stride] * 2}
        x = writer.add("Slice", [x, *(writer.array(np.array(value, np.int64), name)
                                      for name, value in numbers.items())])
    behind = layer.out_channels - layer.channels - layer.first
    pads = np.array([0, layer.first, 0, 0, 0, behind, 0, 0], np.int64)
    return writer.add("Pad", [x, writer.array(pads, "pads")])


def activation(writer, name: str | None, x: str) -> str:
    if name is None:
        return x
    if name == "relu6":
        low, high = (writer.array(np.array(bound, writer.dtype), f"bound{bound}")
                     for bound in (0, 6))
        return writer.add("Clip", [x, low, high])
    return writer.add({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[name], [x])


@exports("ReLU", "ReLU6", "Tanh", "Sigmoid")
def plain_activation(writer, layer, x):
    return activation(writer, type(layer).__name__.lower(), x)


@exports("LeakyReLU")
def leaky_relu(writer, layer, x):
    return writer.add("LeakyRelu", [x], alpha=layer.negative_slope)


@exports("GELU")
def gelu(writer, layer, x):
    return writer.add("Gelu", [x], approximate=layer.approximate)


@exports("Softmax")
def softmax(writer, layer, x):
    last = 1 if writer.layout == "NHWC" and len(layer.output_shape) > 1 else -1
    return writer.add("Softmax", [x], axis=last)


@exports("Dropout")
def dropout(writer, layer, x):
    return writer.add("Dropout", [x, writer.array(np.array(layer.rate, np.float32), "rate")])


@exports("Flatten")
def flatten(writer, layer, x):
    x = writer.channels_last(x, len(layer.input_shape))
    return writer.add("Flatten", [x], axis=1)


@exports("Dense")
def dense(writer, layer, x):
    arrays = [writer.array(value) for value in layer.params.values()]
    return activation(writer, layer.activation, writer.add("Gemm", [x, *arrays], transB=1))


@exports("BatchNorm")
def batch_norm(writer, layer, x):
    mean, var = layer.buffers["running_mean"], layer.buffers["running_var"]
    scale = layer.params.get("weight", np.ones_like(mean))
    shift = layer.params.get("bias", np.zeros_like(mean))
    arrays = [writer.array(scale, "weight"), writer.array(shift, "bias"), writer.array(mean),
              writer.array(var)]
    return writer.add("BatchNormalization", [x, *arrays], epsilon=layer.epsilon,
                      momentum=1.0 - layer.momentum)


@exports("LocalResponseNorm")
def local_response_norm(writer, layer, x):
    return writer.add("LRN", [x], size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)


def window(op, size, kernel, stride, padding, dilation=1) -> dict:
    """ONNX's attributes for a geometry in any of the forms that engine takes."""
    kernel = _check.sizes(op, "kernel_size", kernel)
    stride = kernel if stride is None else _check.sizes(op, "stride", stride)
    dilation = _check.sizes(op, "dilation", dilation)
    pads = _check.pads(op, padding, size, kernel, stride, dilation)
    before, after = zip(*pads, strict=True)
    attributes = dict(kernel_shape=kernel, strides=stride, pads=before + after, dilations=dilation)
    return {name: list(value) for name, value in attributes.items()}


@exports("Conv2D", "Conv1D", "DepthwiseConv2D")
def conv(writer, layer, x):
    weight, geometry = layer.params["weight"], layer.geometry
    attributes = window(layer.operation, writer.plane(layer.input_shape), weight.shape[2:],
                        geometry["stride"], geometry["padding"], geometry["dilation"])
    mode = geometry.get("padding_mode", "constant")
    if mode != "constant" and any(attributes["pads"]):
        half = len(attributes["pads"]) // 2
        pads = [0, 0, *attributes["pads"][:half], 0, 0, *attributes["pads"][half:]]
        x = writer.add("Pad", [x, writer.array(np.array(pads, np.int64), "pads")], mode=mode)
        attributes["pads"] = [0] * 2 * half
    arrays = [writer.array(value) for value in layer.params.values()]
    y = writer.add("Conv", [x, *arrays], group=geometry["groups"], **attributes)
    return activation(writer, layer.activation, y)


@exports("ConvTranspose2D", "ConvTranspose1D")
def conv_transpose(writer, layer, x):
    weight, geometry = layer.params["weight"], layer.geometry
    size, out = writer.plane(layer.input_shape), writer.plane(layer.output_shape)
    attributes = window(layer.operation, out, weight.shape[2:], geometry["stride"],
                        geometry["padding"], geometry["dilation"])
    strides, pads, rank = attributes["strides"], attributes["pads"], len(size)
    reached = [(size[i] - 1) * strides[i] - pads[i] - pads[rank + i]
               + attributes["dilations"][i] * (weight.shape[2 + i] - 1) + 1 for i in range(rank)]
    arrays = [writer.array(value) for value in layer.params.values()]
    y = writer.add("ConvTranspose", [x, *arrays], group=geometry["groups"],
                   output_padding=[a - b for a, b in zip(out, reached, strict=True)], **attributes)
    return activation(writer, layer.activation, y)


POOLS = {"max": "MaxPool", "min": "MaxPool", "avg": "AveragePool", "lp": "LpPool"}


@exports(*(f"{kind}Pool{rank}D" for kind in ("Max", "Min", "Avg", "Lp") for rank in (1, 2)),
         *(f"Global{kind}Pool{rank}D" for kind in ("Max", "Min", "Avg", "Lp") for rank in (1, 2)))
def pool(writer, layer, x):
    kind = layer.operation.removeprefix("global_").partition("_")[0]
    if kind == "min":  # the largest of the negatives
        x = writer.add("Neg", [x])
    if layer.operation.startswith("global_"):
        attributes = {"p": int(layer.p)} if kind == "lp" else {}
        y = writer.add("Global" + POOLS[kind], [x], **attributes)
    else:
        y = writer.add(POOLS[kind], [x], **_pool_attributes(writer, layer, kind))
    return writer.add("Neg", [y]) if kind == "min" else y


def _pool_attributes(writer, layer, kind: str) -> dict:
    attributes = window(layer.operation, writer.plane(layer.input_shape), layer.kernel_size,
                        layer.stride, layer.padding, getattr(layer, "dilation", 1))
    attributes["ceil_mode"] = int(layer.ceil_mode)
    if kind == "avg":
        attributes["count_include_pad"] = int(layer.count_include_pad)
    if kind == "lp":
        attributes["p"] = int(layer.p)
    return attributes


@exports(OnnxModel.__name__)
def graph(writer, layer, x):
    """The nodes of an imported graph, under names of their own."""
    names = {layer.inputs[0]: x}

    def place(name):
        return names.setdefault(name, writer.scope + name) if name else ""
    known = dict(layer.parameters())
    for node in layer.path:
        copy = onnx.NodeProto()
        copy.CopyFrom(node.proto)
        del copy.input[:], copy.output[:]
        for name in node.inputs:
            if name in layer.constants or name in known:
                names[name] = writer.array(known.get(name, layer.constants.get(name)), name)
        copy.name = writer.scope + node.name
        copy.input.extend(map(place, node.inputs))
        copy.output.extend(map(place, node.outputs))
        writer.nodes.append(copy)
    return names[layer.output]
