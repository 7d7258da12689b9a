"""Looking into a network: what its layers make of an image, and where it saw what it says."""

from __future__ import annotations

import numpy as np

from engine._typing import Array, ArrayLike
from engine.nn import _check, transfer
from engine.nn.activations import Sigmoid, Softmax
from engine.nn.dropout import Dropout
from engine.nn.model import Model


def feature_maps(model: Model, x: ArrayLike, layer: str) -> Array:
    """The output of the layer of that name for samples x, (N, *its output_shape).

    The name is one that `Model.freeze` takes.

    Raises
    ------
    ValueError
        If there is no such layer, or x does not fit the model.
    """
    x = _check.samples("feature_maps", "x", x, model.input_shape)
    return _forward_to(_place("feature_maps", model, layer), np.ascontiguousarray(x, model.dtype))


def grad_cam(model: Model, image: ArrayLike, *, target: int | None = None,
             layer: str | None = None) -> Array:
    """Where in an image a network saw a class: a map from 0 to 1, of the size of a layer's maps.

    The feature maps of the layer are added up, each with the mean gradient of the class's logit in
    it as its weight; what speaks against the class is left out.  The weights, statistics and
    random generators of the model stay as they are; `gradients` does not.

    Parameters
    ----------
    image : array_like, shape input_shape
    target : int, optional
        The class; by default the one that the model takes the image for.
    layer : str, optional
        By default the last whose maps have more than one pixel.

    Raises
    ------
    ValueError
        Also for a layer before a batch normalisation, whose gradient needs a batch.

    Source: Selvaraju et al. 2017, equations 1 and 2.
    """
    x = _check.samples("grad_cam", "image", np.asarray(image)[None], model.input_shape)
    place = _place("grad_cam", model, layer or _last_with_maps(model))
    tail = [each for row, index in reversed(place) for each in row.layers[index + 1:]]
    if tail and isinstance(tail[-1], (Softmax, Sigmoid)):
        tail.pop()
    behind = [each for row in tail for each in row.walk()]
    normalising = next((each for each in behind if each.buffers), None)
    if normalising:
        raise ValueError(f"grad_cam: {normalising.title} comes after `layer`, expected a layer "
                         "after the last batch normalisation")
    maps = y = _forward_to(place, np.ascontiguousarray(x, model.dtype))
    with _as_predicting(behind):
        for each in tail:
            y = each.forward(y, training=True)
        dy = np.zeros_like(y)
        chosen = int(y.argmax()) if target is None else _class(target, y.size)
        dy.reshape(-1)[chosen] = 1
        for each in reversed(tail):
            dy = each.backward(dy)
    channels = 1 if model.layout == "NCHW" else 3
    space = tuple(axis for axis in (1, 2, 3) if axis != channels)
    weights = dy.mean(axis=space, keepdims=True)
    heat = np.maximum((weights * maps).sum(axis=channels)[0], 0)
    return heat / max(heat.max(), np.finfo(heat.dtype).tiny)


class _as_predicting:
    """Layers that keep what backward needs, without dropout, whether they are frozen or not."""

    def __init__(self, layers):
        self.set = [(layer, "rate", 0.0) for layer in layers if isinstance(layer, Dropout)]
        self.set += [(layer, "frozen", 0) for layer in layers if hasattr(layer, "frozen")]

    def __enter__(self):
        self.before = [getattr(layer, name) for layer, name, _ in self.set]
        for layer, name, value in self.set:
            setattr(layer, name, value)

    def __exit__(self, *error):
        for (layer, name, _), value in zip(self.set, self.before, strict=True):
            setattr(layer, name, value)


def _place(who: str, model, name: str):
    places = dict(transfer.places(model))
    if name not in places:
        raise ValueError(f"{who}: `layer` is {name!r}, expected one of "
                         f"{', '.join(map(repr, places))}")
    return places[name]


def _forward_to(place, x: np.ndarray) -> np.ndarray:
    """The output of the layer at the end of that path through rows."""
    for row, index in place:
        for layer in row.layers[:index]:
            x = layer.forward(x)
    row, index = place[-1]
    return row.layers[index].forward(x)


def _last_with_maps(model) -> str:
    found = None
    for name, place in transfer.places(model):
        row, index = place[-1]
        shape = row.layers[index].output_shape
        size = shape[1:] if model.layout == "NCHW" else shape[:-1]
        if len(shape) == 3 and size != (1, 1):
            found = name
    if found is None:
        raise ValueError("grad_cam: no layer of the model has maps of more than one pixel, "
                         "expected a convolutional network")
    return found


def _class(target, classes: int) -> int:
    number = _check.integer("grad_cam", "target", target, minimum=0)
    if number >= classes:
        raise ValueError(f"grad_cam: `target` is {number}, expected 0 to {classes - 1}")
    return number
