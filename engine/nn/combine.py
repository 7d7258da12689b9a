"""Branches: layers side by side, whose outputs are added or put after one another.

>>> from engine import nn
>>> block = nn.Residual([nn.Conv2D(8, 3, padding=1, activation="relu"),
...                      nn.Conv2D(8, 3, padding=1)], activation="relu")
>>> inception = nn.Concatenate([nn.Conv2D(4, 1), [nn.Conv2D(2, 1), nn.Conv2D(6, 3, padding=1)]])
>>> nn.Sequential([block, inception], input_shape=(8, 6, 6), seed=0).output_shape
(10, 6, 6)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine._typing import Activation
from engine.nn import _check, activations
from engine.nn.layer import Layer
from engine.nn.norm import BatchNorm
from engine.nn.sequential import Sequential, name_layers


class Branches(Layer):
    """What layers made of branches share: each branch sees the same input."""

    branches: tuple[Layer, ...] = ()

    @property
    def children(self):
        return self.branches

    def build(self, input_shape, context):
        name_layers(self.title, self.branches)
        self.context, self.input_shape = context, tuple(input_shape)
        for branch in self.branches:
            branch.build(self.input_shape, context)
        self.check_outputs([branch.output_shape for branch in self.branches])
        self.output_shape = self.forward(np.zeros((0, *self.input_shape), context.dtype)).shape[1:]
        return self.output_shape

    def check_outputs(self, shapes: list[tuple[int, ...]]) -> None:
        """Raise if outputs of these shapes cannot be put together."""
        raise NotImplementedError

    def _backward(self, gradients, need_dx):
        """Send each gradient back through its branch; the sum of what arrives at the input."""
        total, is_own = None, False  # own: an array that nobody else has
        for branch, dy in zip(self.branches, gradients, strict=True):
            dx = branch.backward(dy, need_dx)
            if not need_dx:
                continue
            if total is None:
                total = dx
            elif is_own:
                total += dx
            else:
                total = total + dx
            is_own = is_own or (isinstance(dx, np.ndarray) and not np.may_share_memory(dx, dy))
        return total


class Concatenate(Branches):
    """The channels of all branches, one branch after the other.

    Parameters
    ----------
    branches : sequence of Layer or list of Layer
        A list is a row of layers; an empty one passes the input on.

    Source: the inception module of Szegedy et al. 2015, figure 2.
    """

    def __init__(self, branches: Sequence[Layer | Sequence[Layer]], *, name: str | None = None):
        super().__init__(name)
        if not isinstance(branches, (list, tuple)) or not branches:
            raise ValueError(f"{self.title}: `branches` is {branches!r}, expected a list of at "
                             "least one layer or list of layers")
        self.branches = tuple(as_layer(self.title, "branches", each) for each in branches)

    def check_outputs(self, shapes):
        axis = self._axis() - 1  # of a sample
        places = {shape[:axis] + shape[axis:][1:] for shape in shapes}
        if len({len(shape) for shape in shapes}) > 1 or len(places) > 1:
            raise ValueError(f"{self.title}: `branches` have outputs of shape "
                             f"{', '.join(map(str, shapes))}, expected to differ in channels only")
        sizes = [shape[axis] for shape in shapes]
        self._ends = np.cumsum(sizes)[:-1]

    def forward(self, x, training=False):
        return np.concatenate([branch.forward(x, training) for branch in self.branches],
                              axis=self._axis())

    def backward(self, dy, need_dx=True):
        return self._backward(np.split(dy, self._ends, axis=self._axis()), need_dx)

    def _axis(self):
        rank = len(self.branches[0].output_shape)
        return 1 if rank == 1 or self.context.layout == "NCHW" else rank


class Residual(Branches):
    """What the layers make of x is added to x itself, or to what a shortcut makes of it.

    Parameters
    ----------
    layers : Layer or list of Layer
    shortcut : Layer or list of Layer, optional
        For outputs of another shape than x: usually a 1x1 convolution.
    activation : {None, "relu", "relu6", "tanh", "sigmoid"}
        Applied to the sum.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 3.2.
    """

    def __init__(self, layers: Layer | Sequence[Layer],
                 shortcut: Layer | Sequence[Layer] | None = None, *,
                 activation: Activation | None = None, name: str | None = None):
        super().__init__(name)
        self.layers = as_layer(self.title, "layers", layers, name="")
        self.shortcut = as_layer(self.title, "shortcut", [] if shortcut is None else shortcut,
                                 name="shortcut")
        self.branches = (self.layers, self.shortcut)
        self.activation = _check.option(self.title, "activation", activation, activations.FUSED)

    def check_outputs(self, shapes):
        if shapes[0] != shapes[1]:
            raise ValueError(f"{self.title}: `layers` have outputs of shape {shapes[0]}, expected "
                             f"{shapes[1]}, that of the shortcut")

    def forward(self, x, training=False):
        shortcut = self.shortcut.forward(x, training)
        if self.activation in (None, "relu") and self._ends_in_norm():
            y = self.layers.forward(x, training, residual=shortcut, activation=self.activation)
        else:
            y = self.layers.forward(x, training) + shortcut
            y = activations.forward_of(self.activation, y)
        if training and self.activation:
            self.keep(y)
        return y

    def _ends_in_norm(self):
        """Whether the last layer can also add the shortcut."""
        return isinstance(self.layers, Sequential) and isinstance(self.layers.layers[-1], BatchNorm)

    def backward(self, dy, need_dx=True):
        if self.activation:
            y, = self.kept()
            dy = activations.backward_of(self.activation, dy, y)
        return self._backward([dy, dy], need_dx)


def as_layer(who: str, argument: str, value, name: str | None = None) -> Layer:
    """A layer as it is; a list of layers as a row of that name."""
    if isinstance(value, (list, tuple)):
        return Sequential(value, name=name) if value else Identity(name=name)
    if not isinstance(value, Layer):
        raise TypeError(f"{who}: `{argument}` has {value!r}, expected layers such as Dense(10)")
    return value


class Identity(Layer):
    """x as it is."""

    def forward(self, x, training=False):
        return x

    def backward(self, dy, need_dx=True):
        return dy
