"""`compile`: a trained model made ready for inference on batches of one size.

What is constant is done once.  Batch normalisations are folded into the convolutions before them,
biases and activations are computed by the convolutions themselves, branches write straight into
their part of a concatenation, weights are packed, and every intermediate result has its place in
memory, shared by results that do not live at the same time: a second inference allocates nothing.

Source of the folding: Jacob et al. 2018, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np

import engine
from engine._typing import Array, ArrayLike
from engine.nn import _check, activations, devices
from engine.nn._typing import Layout
from engine.nn.activations import ReLU, ReLU6, Sigmoid, Softmax, Tanh
from engine.nn.combine import Concatenate, Identity, Residual
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.dropout import Dropout
from engine.nn.layer import Layer
from engine.nn.memory_plan import Value, place
from engine.nn.model import Model
from engine.nn.norm import BatchNorm, LocalResponseNorm
from engine.nn.pool import Pool
from engine.nn.separable import DepthwiseConv2D
from engine.nn.sequential import Sequential

ACTIVATIONS = {ReLU: "relu", ReLU6: "relu6", Tanh: "tanh", Sigmoid: "sigmoid"}


def compile(model: Model, batch_size: int = 1, *, order: Layout = "NCHW") -> Compiled:
    """The model for batches of `batch_size` samples, with its weights as they are now.

    Parameters
    ----------
    model : Model
        A built model.  Later changes to its weights are not seen.
    batch_size : int
    order : {"NCHW", "NHWC"}
        The order in memory of all intermediate images; x and y keep that of the model.

    Returns
    -------
    Compiled
        Called as ``compiled(x)``.
    """
    model._need_weights("compile")
    if model.device != devices.HOST:
        raise ValueError(f'compile: the model is on {model.device}, expected model.to("cpu")')
    return Compiled(model, _check.integer("compile", "batch_size", batch_size),
                    _check.option("compile", "order", order, ("NCHW", "NHWC")))


class Compiled:
    """A model ready to run; made by `compile`.

    Attributes
    ----------
    input_shape, output_shape : tuple of int
        With the batch axis.
    nbytes : int
        Memory for all intermediate results.
    """

    def __init__(self, model: Model, batch_size: int, order: Layout):
        self.input_shape = (batch_size, *model.input_shape)
        self.output_shape = (batch_size, *model.output_shape)
        self.dtype, self.layout, self.order = np.dtype(model.dtype), model.layout, order
        self._steps: list[tuple[Callable, list[Value], Value]] = []
        x = Value(_channels_first(self.input_shape, model.layout))
        y = self._in_model_order(self._row(_flat(model), x))
        self.nbytes = place([(inputs, out) for _, inputs, out in self._steps], x, y,
                            self.dtype, order)
        self._bind()
        self._x, self._y = (_as_user_has(value.array, self.layout) for value in (x, y))

    def _bind(self):
        """The steps as functions without arguments, with as many threads as may be used now."""
        self._threads = engine.get_num_threads()
        self._run = engine.chain(make(*(value.array for value in inputs), out.array)
                                 for make, inputs, out in self._steps)

    def __call__(self, x: ArrayLike) -> Array:
        """The outputs for one batch: an array that the next call overwrites."""
        if np.shape(x) != self.input_shape:
            raise ValueError(f"compiled: `x` has shape {np.shape(x)}, expected {self.input_shape}")
        if self._threads != engine.get_num_threads():
            self._bind()
        np.copyto(self._x, x, casting="same_kind")
        self._run()
        return self._y

    # ---- from layers to steps; `into` is where the result has to be, if it matters ---------------

    def _row(self, layers: list[Layer], x: Value, into: Value | None = None) -> Value:
        """One layer after the other, some of them together."""
        at, y = 0, x
        while at < len(layers):
            taken, emit = self._next(layers[at:])
            at += taken
            y = emit(y, into if at == len(layers) else None)
        if into is None or y is into:
            return y
        return self._copy(self._in_model_order(y), into)

    def _next(self, layers):
        """How many of the layers are one step, and what makes that step."""
        first = layers[0]
        if isinstance(first, (Dropout, Identity)):
            return 1, lambda x, into: x
        if isinstance(first, Flatten):
            return 1, self._flatten
        if isinstance(first, Concatenate):
            return 1, lambda x, into: self._concatenate(first, x, into)
        if isinstance(first, Residual):
            return 1, lambda x, into: self._residual(first, x, into)
        if isinstance(first, (Conv2D, DepthwiseConv2D, BatchNorm)):
            return self._convolution(layers)
        if isinstance(first, Dense):
            activation, taken = first.activation, 1
            if activation is None and len(layers) > 1 and type(layers[1]) in ACTIVATIONS:
                activation, taken = ACTIVATIONS[type(layers[1])], 2
            return taken, lambda x, into: self._dense(first, activation, x, into)
        if isinstance(first, Pool):
            arguments = _without_layout(first)
            return 1, lambda x, into: self._step(
                first, x, into, lambda source, out: _pool(first, source, out, arguments))
        return 1, lambda x, into: self._any(first, x, into)

    def _convolution(self, layers):
        """A convolution, the normalisation after it and an activation; or the latter two."""
        first, taken = layers[0], 1
        if not isinstance(first, BatchNorm):
            weight, bias = first.params["weight"], first.params.get("bias")
            geometry, activation = _without_layout(first, "geometry"), first.activation
        else:
            factor, bias = first.as_affine()
            weight, activation = factor.reshape(-1, 1, 1, 1), None
            geometry = {"groups": len(factor)}
        if activation is None and len(layers) > taken and isinstance(layers[taken], BatchNorm) and (
                not isinstance(first, BatchNorm)):
            factor, offset = layers[taken].as_affine()
            weight = weight * factor.reshape(-1, 1, 1, 1)
            bias = offset if bias is None else bias * factor + offset
            taken += 1
        if activation is None and len(layers) > taken and type(layers[taken]) in ACTIVATIONS:
            activation = ACTIVATIONS[type(layers[taken])]
            taken += 1
        last = layers[taken - 1]

        make = _Convolution(weight, bias, activation, **geometry)
        return taken, lambda x, into: self._step(
            last, self._in_model_order(x), into, make)

    def _dense(self, layer, activation, x, into):
        weight = layer.params["weight"]
        if x.flattened:  # the features are in the order of memory, the weights in the model's
            weight = _reordered(weight, x.flattened, self.layout, self.order)

        return self._step(layer, x, into, _Convolution(
            weight[:, :, None, None], layer.params.get("bias"), activation))

    def _concatenate(self, layer, x, into):
        shape = self._shape(layer)
        out = into or Value(shape)
        start = 0
        for branch in layer.branches:
            stop = start + self._shape(branch)[1]
            part = Value((shape[0], stop - start, *shape[2:]), base=out,
                         view=lambda array, part=slice(start, stop): array[:, part])
            self._row(_flat(branch), x, part)
            start = stop
        return out

    def _residual(self, layer, x, into):
        shortcut = self._in_model_order(self._row(_flat(layer.shortcut), x))
        y = self._in_model_order(self._row(_flat(layer.layers), x))
        make, inputs, last = self._steps[-1] if self._steps else (None, [], None)
        if last is y is not x and isinstance(make, _Convolution) and make.activation is None:
            out = into or Value(y.shape)
            self._steps[-1] = make.adding(layer.activation), [*inputs, shortcut], out
            return out
        out = into or (y if y is not x else Value(y.shape))
        self._steps.append((lambda a, b, out: _add(a, b, out, layer.activation),
                            [y, shortcut], out))
        return out

    def _flatten(self, x, into):
        features = math.prod(x.shape[1:])
        if into is None and x.base is None:
            plain = self.order == self.layout or math.prod(x.shape[2:]) == 1
            return Value((x.shape[0], features), base=x,
                         view=lambda array: _in_memory_order(array, self.order),
                         flattened=None if plain else x.shape[1:])
        return self._rows_of(x, into or Value((x.shape[0], features)))

    def _any(self, layer, x, into):
        """A layer that is not known here, as it is."""
        x = self._in_model_order(x)
        if isinstance(layer, Softmax) and len(x.shape) == 2:
            return self._step(layer, x, into, engine.bind_softmax)
        if isinstance(layer, LocalResponseNorm) and len(x.shape) == 4:
            return self._step(layer, x, into, partial(_response_norm, layer))
        return self._step(layer, x, into, lambda source, out: lambda: np.copyto(
            _as_user_has(out, self.layout), layer.forward(_as_user_has(source, self.layout))))

    def _in_model_order(self, x):
        """x, unless it has the features of images in the order of memory."""
        if not x.flattened:
            return x
        return self._rows_of(x.base, Value(x.shape))

    def _rows_of(self, images, out):
        """A copy of images as rows of features in the order of the model."""
        self._steps.append((lambda source, out: lambda: np.copyto(
            out, _as_user_has(source, self.layout).reshape(out.shape)), [images], out))
        return out

    def _copy(self, x, into):
        self._steps.append((lambda source, out: lambda: np.copyto(out, source), [x], into))
        return into

    def _step(self, layer, x, into, make):
        out = into or Value(self._shape(layer))
        self._steps.append((make, [x], out))
        return out

    def _shape(self, layer):
        return _channels_first((self.input_shape[0], *layer.output_shape), self.layout)


def _flat(layer: Layer) -> list[Layer]:
    """The layers of a row, and of rows inside it, as one list."""
    if not isinstance(layer, Sequential):
        return [layer]
    return [leaf for child in layer.layers for leaf in _flat(child)]


def _without_layout(layer, attribute="arguments"):
    """The arguments of a layer's calls: here all images have their channels first."""
    return {name: value for name, value in getattr(layer, attribute).items() if name != "layout"}


def _channels_first(shape, layout):
    return (shape[0], shape[-1], *shape[1:-1]) if layout == "NHWC" and len(shape) > 2 else shape


def _as_user_has(array, layout):
    return np.moveaxis(array, 1, -1) if layout == "NHWC" and array.ndim > 2 else array


def _in_memory_order(array, order):
    """Images as rows of features, without a copy."""
    images = np.moveaxis(array, 1, -1) if order == "NHWC" else array
    return images.reshape(len(images), -1)


def _reordered(weight, shape, layout, order):
    """A dense weight, whose features are images of `shape` in `layout`, for those in `order`."""
    c, *size = shape
    features = weight.reshape(len(weight), *((c, *size) if layout == "NCHW" else (*size, c)))
    turned = np.moveaxis(features, 1, -1) if order == "NHWC" else np.moveaxis(features, -1, 1)
    return turned.reshape(weight.shape)


class _Convolution:
    """What makes the step of a convolution; a row of features is an image of one pixel."""

    def __init__(self, weight, bias, activation, **geometry):
        self.weight, self.bias = weight, bias
        self.activation, self.geometry = activation, geometry
        self.plan = cache(lambda shape: engine.plan_conv2d(
            shape, weight, bias, activation=activation, **geometry))

    def adding(self, activation) -> _Convolution:
        """The same with another result added to it before the activation."""
        return _Convolution(self.weight, self.bias, activation, **self.geometry)

    def __call__(self, source, *more):
        """The step from `source`, perhaps with what is added, to the last array."""
        source, *added, out = (array[:, :, None, None] if array.ndim == 2 else array
                               for array in (source, *more))
        return self.plan(source.shape).bind(source, out, *added)


def _pool(layer, source, out, arguments):
    """The step of a pooling."""
    if layer.rank == 2:
        return engine.bind_pool2d(layer.operation, source, out=out, **arguments)
    return partial(getattr(engine, layer.operation), source, out=out, **arguments)


CHUNK = 1 << 15  # elements: a chunk of the sum is still in the cache when its activation is applied


def _add(a, b, out, activation):
    """The step ``out = activation(a + b)``."""
    arrays = [a, b, out]
    flat = [_in_order_of(out, array) for array in arrays]
    if any(array is None for array in flat):
        flat = [array[None] for array in arrays]
        pieces = [tuple(array[0] for array in flat)]
    else:
        pieces = [tuple(array[start:start + CHUNK] for array in flat)
                  for start in range(0, flat[2].size, CHUNK)]

    def run():
        for a, b, out in pieces:
            np.add(a, b, out=out)
            if activation == "relu":
                np.maximum(out, 0, out=out)
            elif activation:
                np.copyto(out, activations.forward_of(activation, out))

    return run


def _in_order_of(out, array):
    """The elements of an array in the order of out's memory, without a copy; or None."""
    axes = sorted(range(out.ndim), key=lambda axis: (-out.strides[axis], axis))
    turned = array.transpose(axes)
    return turned.reshape(-1) if turned.flags.c_contiguous else None


def _response_norm(layer, source, out):
    """The step of a LocalResponseNorm on images."""
    squares, measure = np.empty_like(source), np.empty_like(source)
    pools = [_channels_down(array) for array in (squares, measure)]

    def run():
        np.multiply(source, source, out=squares)
        engine.avg_pool2d(pools[0], out=pools[1], **layer.window)
        np.multiply(measure, layer.alpha, out=measure)
        np.add(measure, layer.k, out=measure)
        np.power(measure, -layer.beta, out=measure)
        np.multiply(source, measure, out=out)

    return run


def _channels_down(images):
    """Planes whose height are the channels, without a copy."""
    n, c, h, w = images.shape
    if images.flags.c_contiguous:
        return images.reshape(n, 1, c, h * w)
    return np.moveaxis(images, 1, -1).reshape(n * h * w, 1, c, 1)
