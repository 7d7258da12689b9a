"""Transfer learning: a trained network goes on to learn something else.

Its first layers are frozen, as what they look for is of use for most photographs, and the last one
is replaced by one for the new classes.  Source: Yosinski et al. 2014.

A network is frozen from its input up to some layer.  So no gradient has to pass the frozen part,
it keeps nothing in a forward pass, and its dropout and batch normalisation do as in prediction.
"""

from __future__ import annotations

from engine.nn import _check
from engine.nn.layer import Layer


def freeze(model, until: str | None) -> None:
    """See `Model.freeze`."""
    known = dict(places(model))
    if until is not None and until not in known:
        raise ValueError(f"freeze: `until` is {until!r}, expected None or one of "
                         f"{', '.join(map(repr, known))}")
    for row in model.walk():
        if _is_row(row):
            row.frozen = 0
    for row, index in reversed(known.get(until, [])):
        # the layer itself is frozen, a row that holds it only if it is the last in there
        layer = row.layers[index]
        whole = layer is _last(known[until]) or layer.frozen == len(layer.layers)
        row.frozen = index + whole
    for row in model.walk():
        if _is_row(row):
            row.first_trained = next((i for i, layer in enumerate(row.layers) if i >= row.frozen
                                      and any(each.params for each in layer.walk())),
                                     len(row.layers))


def frozen_layers(row):
    """The layers in a row of layers that are frozen, with those inside them."""
    for index, layer in enumerate(row.layers):
        if index < row.frozen:
            yield from layer.walk()
        elif _is_row(layer):
            yield from frozen_layers(layer)


def replace_head(model, classes: int) -> Layer:
    """See `Model.replace_head`."""
    from engine.nn.auxiliary import Auxiliary  # here, as it is made of models itself

    classes = _check.integer("replace_head", "classes", classes)
    auxiliary = [layer.layers for layer in model.walk() if isinstance(layer, Auxiliary)]
    heads = [_head(each) for each in (model, *auxiliary)]
    trained = [(layer, layer.params, layer.buffers) for layer in model.walk()
               if layer not in heads]
    for head in heads:
        setattr(head, _size_of(head), classes)
        head.activation = None
    model.prepare(model.input_shape)
    for layer, params, buffers in trained:
        for old, new in (params, layer.params), (buffers, layer.buffers):
            for key, value in old.items():
                new[key][...] = value
    model.metadata.pop("classes", None)  # the names of the old ones
    return heads[0]


def _head(row) -> Layer:
    """The last layer with parameters, whose outputs are the classes."""
    head = next((layer for layer in reversed(list(row.walk())) if layer.params), row)
    if _size_of(head) is None:
        raise ValueError(f"replace_head: the last layer with parameters is {head.title}, expected "
                         "a dense layer or a convolution")
    return head


def _size_of(head) -> str | None:
    """The name of the attribute that is its number of outputs."""
    return next((name for name in ("out_features", "out_channels") if hasattr(head, name)), None)


def places(row, prefix: str = "", outer: tuple = ()):
    """The full name of each layer in rows, and the row and index on each level down to it."""
    for index, layer in enumerate(row.layers):
        place = [*outer, (row, index)]
        name = layer.prefix(prefix)
        if layer.name:
            yield name.rstrip("."), place
        if _is_row(layer):
            yield from places(layer, name, place)


def _last(place) -> Layer:
    row, index = place[-1]
    return row.layers[index]


def _is_row(layer: Layer) -> bool:
    return hasattr(layer, "first_trained")
