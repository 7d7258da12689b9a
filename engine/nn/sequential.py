"""Sequential: x (N, *input_shape) -> through one layer after another -> y (N, *output_shape)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from engine._typing import DTypeLike
from engine.nn._typing import Layout, Shape
from engine.nn.layer import Layer
from engine.nn.model import Model


class Sequential(Model):
    """Layers in a row; itself a layer, so rows may stand inside rows.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple of int, optional
        Shape of one sample, e.g. (1, 28, 28).  Without it the model is built on the first data.
    layout : {"NCHW", "NHWC"}
        Order of the axes of all images in the model.
    dtype : {"float32", "float64"}
    seed : int, optional
        The same seed gives the same first weights, order of samples and dropout, bit for bit.
    """

    def __init__(self, layers: Iterable[Layer], *, input_shape: Shape | None = None,
                 layout: Layout = "NCHW", dtype: DTypeLike = "float32", seed: int | None = None,
                 name: str | None = None):
        self.layers = list(layers)
        super().__init__(input_shape, layout, dtype, seed, name)

    @property
    def children(self):
        return tuple(self.layers)

    def check_layers(self):
        if not self.layers:
            raise ValueError(f"{self.title}: `layers` is empty, expected at least one layer")
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"{self.title}: `layers` has {layer!r}, expected layers such as "
                                "Dense(10)")
        name_layers(self.title, self.layers)

    def build(self, input_shape, context):
        self.check_layers()
        self.context = context
        shape = self.input_shape = tuple(input_shape)
        for layer in self.layers:
            try:
                shape = layer.build(shape, context)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{self.title}: layer {layer.title} on input {shape}: "
                                  f"{error}") from error
        trained = [any(each.params for each in layer.walk()) for layer in self.layers]
        self.first_trained = trained.index(True) if True in trained else len(trained)
        self.output_shape = shape
        return shape

    def forward(self, x, training=False, stop=None, **last):
        """As of any layer; `last` are further arguments for the last one's `forward`."""
        layers = self.layers[:stop]
        done = False
        for i, (layer, after) in enumerate(zip_longest(layers, layers[1:])):
            if done:
                done = False
            elif last and after is None:
                x = layer.forward(x, training and i >= self.frozen, **last)
            elif training and i >= self.frozen:
                x, done = layer.train_forward(x, after)
            else:
                x = layer.forward(x)
        return x

    def backward(self, dy, need_dx=True, stop=None):
        # Without need_dx, nothing is computed below the first layer that is trained.
        first = 0 if need_dx else self.first_trained
        for i, layer in reversed(list(enumerate(self.layers[:stop]))):
            if i < first:
                return None
            dy = layer.backward(dy, need_dx or i > first)
            self.group.ready(layer)
        return dy


def name_layers(who: str, layers) -> None:
    """Give a name to every layer that has none: its kind and a number.

    A layer may be named "": the names of the layers inside it are then those of this level.
    """
    given = [layer.name for layer in layers if layer.name]
    counts: dict[str, int] = {}
    for layer in layers:
        kind = type(layer).__name__.lower()
        while layer.name is None:
            counts[kind] = counts.get(kind, 0) + 1
            name = f"{kind}_{counts[kind]}"
            layer.name = None if name in given else name
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice:
        raise ValueError(f"{who}: `layers` has two layers named {twice!r}, "
                         "expected a name of its own for each")
