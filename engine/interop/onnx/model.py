"""An ONNX model as a model of `engine.nn`: predicted with, trained further, saved as ONNX again."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace

import numpy as np
import onnx

from engine.interop.onnx.graph import NOTES, Graph
from engine.interop.onnx.run import Run, needed
from engine.interop.onnx.table import Node, is_real
from engine.nn import saving
from engine.nn.activations import Sigmoid, Softmax
from engine.nn.layer import Layer
from engine.nn.model import Model


def load(source, *, input_shape=None, output=None, dtype=None, seed=None) -> OnnxModel:
    """Read an ONNX model.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
    input_shape : tuple of int, optional
        Shape of one sample, where the file leaves it open.
    output : str, optional
        The array to be the output of the model: one of the file's outputs, by default the first,
        or any array within, e.g. the features before the last layer.
    dtype : {"float32", "float64"}, optional
        Default: that of the file's input, float32 for half precision.
    seed : int, optional
        For the order of samples and dropout in `fit`.

    Returns
    -------
    OnnxModel

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no ONNX model, or `input_shape` or `output` do not fit it.
    NotImplementedError
        With everything the model needs and engine does not have.
    """
    proto = source if isinstance(source, onnx.ModelProto) else _read(source)
    model = OnnxModel(proto, input_shape=input_shape, output=output, dtype=dtype, seed=seed)
    for entry in proto.metadata_props:
        if entry.key == NOTES:
            known = json.loads(entry.value)
            model.epochs_done, model.metadata = known["epochs_done"], known["metadata"]
    return model


def _read(source) -> onnx.ModelProto:
    """The checked model in a file, with the arrays that it keeps in other files; or in bytes."""
    try:
        if isinstance(source, bytes):
            proto = onnx.load_model_from_string(source)
            onnx.checker.check_model(proto)
        else:
            proto = onnx.load(os.fspath(source))
            onnx.checker.check_model(os.fspath(source))
    except OSError:
        raise
    except Exception as error:  # protobuf's own classes of errors differ between versions
        raise ValueError(f"load: `source` is no valid ONNX model: {error}") from error
    return proto


class GraphNode(Layer):
    """One node of the graph: it owns parameters and has a line in the summary, the graph runs it.
    """

    def __init__(self, node: Node):
        super().__init__(node.name or node.outputs[0])
        self.kind = node.op


class SoftmaxNode(GraphNode, Softmax):
    """A softmax over classes at the end, which losses may take over."""


class SigmoidNode(GraphNode, Sigmoid):
    """A sigmoid at the end, likewise."""


class OnnxModel(Model):
    """The graph of an ONNX file; its parameters are the file's weights, under the file's names.

    `load` makes it.  Batch normalisation keeps the statistics of the file; dropout acts while
    training.  A batch size that the file fixes is freed.

    Attributes
    ----------
    inputs, outputs : list of str
        The names in the file.
    """

    def __init__(self, proto, *, input_shape=None, output=None, dtype=None, seed=None):
        if isinstance(proto, str):  # as `config` has it
            proto = onnx.load_model_from_string(base64.b64decode(proto))
        self.graph = Graph(proto)
        self.inputs, self.outputs = list(self.graph.inputs), list(self.graph.outputs)
        self.output = self.outputs[0] if output is None else output
        known = {name for node in self.graph.nodes for name in node.outputs if name}
        if self.output not in known:
            raise ValueError(f"load: `output` is {output!r}, expected an array of the graph, "
                             f"such as {', '.join(map(repr, self.outputs))}")
        self.path = needed(self.graph.nodes, [self.output])
        self._children = ()
        kind, shape = next(iter(self.graph.inputs.values()), (np.dtype(np.float32), None))
        if input_shape is None and len(self.inputs) == 1 and shape and None not in shape[1:]:
            input_shape = shape[1:]
        super().__init__(input_shape, "NCHW", dtype or ("float64" if kind == np.float64
                                                        else "float32"),
                         seed, proto.graph.name or None)

    @property
    def children(self):
        return self._children

    layers = children  # in the order they run, up to one of which they can be frozen

    def build(self, input_shape, context):
        self._check_input(input_shape, context)
        self.context, self.input_shape = context, tuple(input_shape)
        self.rng, = context.rng.spawn(1)
        constants = {name: _cast(value, context.dtype)
                     for name, value in self.graph.constants.items()}
        shapes = self._shapes(constants)
        self.output_shape = shapes[self.output]
        weights = {name: constants.pop(name) for name in self.graph.weights(self.path)}
        self.constants = constants
        self._children = tuple(self._layer(node, shapes, weights) for node in self.path)
        return self.output_shape

    def _shapes(self, constants) -> dict[str, tuple[int, ...]]:
        """The shapes of one sample of all arrays, found by running one."""
        x = np.zeros((1, *self.input_shape), self.context.dtype)
        values = constants | {self.inputs[0]: x}
        Run([replace(node, spent=()) for node in self.path], values, batch=self._batch(x))
        return {name: value.shape[1:] for name, value in values.items()}

    def _layer(self, node: Node, shapes, weights) -> GraphNode:
        """The layer of a node; it gets those of its weights that no layer before it has taken."""
        shape = shapes[node.outputs[0]]
        kind = GraphNode
        if node is self.path[-1] and len(shape) == 1:
            kind = {"Softmax": SoftmaxNode, "Sigmoid": SigmoidNode}.get(node.op, GraphNode)
        layer = kind(node)
        layer.output_shape = shape
        layer.params = {name: np.array(weights.pop(name), order="C")
                        for name in dict.fromkeys(node.inputs) if name in weights}
        layer.grads = {name: np.zeros_like(value) for name, value in layer.params.items()}
        return layer

    def _check_input(self, input_shape, context) -> None:
        if len(self.inputs) != 1:
            raise ValueError(f"{self.title}: the graph has the inputs {', '.join(self.inputs)}, "
                             "expected one (`predict_all` takes several)")
        if context.layout != "NCHW":
            raise ValueError(f"{self.title}: `layout` is {context.layout!r}, expected 'NCHW' "
                             "(ONNX knows no other)")
        _, shape = self.graph.inputs[self.inputs[0]]
        fits = shape is None or len(shape) == len(input_shape) + 1 and all(
            size in (None, given) for size, given in zip(shape[1:], input_shape, strict=True))
        if not fits:
            expected = ", ".join("any" if size is None else str(size) for size in shape[1:])
            raise ValueError(f"{self.title}: `input_shape` is {tuple(input_shape)}, expected "
                             f"({expected}) as in the file")

    def _values(self) -> dict[str, np.ndarray]:
        """Constants and parameters by name."""
        return self.constants | dict(self.parameters())

    def _batch(self, x):
        given = self.graph.batch
        return (given, len(x)) if given and given != len(x) else None

    def forward(self, x, training=False, stop=None):
        nodes = self.path[:stop]
        result = self.output if stop is None else (
            nodes[-1].outputs[0] if nodes else self.inputs[0])
        values = self._values() | {self.inputs[0]: x}
        learned = [name for layer in self.children[self.frozen:] for name in layer.params]
        run = Run(nodes, values, learned, () if self.frozen else self.inputs, self._batch(x),
                  self.rng if training else None, self.frozen)
        if training:
            self.keep(run, result, x)
        return values[result]

    def backward(self, dy, need_dx=True, stop=None):
        if need_dx and self.frozen:
            raise RuntimeError(f"{self.title}: there is no gradient of x behind frozen layers")
        run, result, x = self.kept()
        gradients = run.backward({result: dy}, need_dx)
        for layer in self.children:
            for name, grad in layer.grads.items():
                grad[...] = gradients.get(name, 0)
        if not need_dx:
            return None
        return gradients.get(self.inputs[0], np.zeros_like(x))

    def predict_all(self, inputs) -> dict[str, np.ndarray]:
        """All outputs of the file by name.

        Parameters
        ----------
        inputs : array_like, or dict of str to array_like
            The only input, or all of them by name; a batch of any size.
        """
        if not isinstance(inputs, dict):
            inputs = {self.inputs[0]: inputs}
        if set(inputs) != set(self.inputs):
            given = ", ".join(map(str, inputs)) or "nothing"
            raise ValueError(f"predict_all: `inputs` has {given}, expected "
                             f"{', '.join(self.inputs)}")
        dtype = np.dtype(self.dtype)
        inputs = {name: _cast(np.asarray(value), dtype) for name, value in inputs.items()}
        constants = {name: _cast(value, dtype) for name, value in self.graph.constants.items()}
        values = constants | dict(self.parameters()) | inputs
        Run(self.graph.nodes, values, batch=self._batch(inputs[self.inputs[0]]))
        return {name: values[name] for name in self.outputs}

    def parameters(self, prefix=""):
        """Every parameter under its name in the file."""
        for layer in self.children:
            for name, value in layer.params.items():
                yield prefix + name, value

    arrays = parameters  # the statistics of batch normalisation are constants

    def config(self):
        # The graph as text and without its weights: those are saved beside it.
        proto = self.graph.proto(self.path, self.output, self.output_shape, None)
        return {"proto": base64.b64encode(proto.SerializeToString()).decode(),
                "input_shape": self.input_shape, "output": self.output, "dtype": self.dtype,
                "seed": self.seed}

    def save(self, path) -> None:
        """Write an ONNX file, or one of `engine.nn` if the name ends in .safetensors.

        An older file is replaced only by a whole new one.
        """
        if os.fspath(path).endswith(".safetensors"):
            return super().save(path)
        self._need_weights("save")
        saving.write_whole(path, self.proto().SerializeToString())

    def proto(self) -> onnx.ModelProto:
        """The model with its parameters as they are now."""
        return self.graph.proto(self.path, self.output, self.output_shape, dict(self.parameters()),
                                {"epochs_done": self.epochs_done, "metadata": self.metadata})


def _cast(value: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Real numbers in the model's dtype, anything else as it is."""
    return value.astype(dtype, copy=False) if is_real(value.dtype) else value
