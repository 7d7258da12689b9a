"""Keras's HDF5 files (.h5 and .weights.h5): layers of a kind are matched in order.

Keras has filters as (height, width, in, out) and dense weights as (in, out), and flattens images
with the channels last; here they are turned round.
"""

from __future__ import annotations

import re

import numpy as np

from engine.nn._extras import need
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.norm import BatchNorm
from engine.nn.separable import DepthwiseConv2D


def read(path, model) -> dict[str, np.ndarray]:
    """The arrays of the file under the names of the model."""
    h5py = need("h5py", "reading Keras weights", extra="keras")
    with h5py.File(path, "r") as file:
        theirs = _by_kind(_layers(file))
    arrays: dict[str, np.ndarray] = {}
    flattened, counts = None, dict.fromkeys(theirs, 0)
    for prefix, layer in _named(model):
        if isinstance(layer, Flatten):
            flattened = layer.input_shape if layer.context.layout == "NCHW" else None
        kind = _kind_of(layer)
        if kind is None:
            continue
        if counts[kind] == len(theirs[kind]):
            raise ValueError(f"load_weights: `{path}` has {len(theirs[kind])} {kind} layers, "
                             f"expected one for {prefix[:-1]} too")
        found = theirs[kind][counts[kind]]
        counts[kind] += 1
        arrays |= {prefix + name: value for name, value in
                   _turned(kind, layer, found, flattened).items()}
        if kind == "dense":
            flattened = None
    left = {kind: len(layers) - counts[kind] for kind, layers in theirs.items()
            if len(layers) > counts[kind]}
    if left:
        raise ValueError(f"load_weights: `{path}` has layers too many for {model.title}: "
                         + ", ".join(f"{n} {kind}" for kind, n in left.items()))
    return arrays


def _layers(file):
    """The arrays of each layer that has some, in the order of the network or of their names."""
    group = file["model_weights"] if "model_weights" in file else file
    if "layer_names" in group.attrs:
        for name in group.attrs["layer_names"]:
            layer = group[name]
            arrays = [np.asarray(layer[each]) for each in layer.attrs["weight_names"]]
            if arrays:
                yield arrays
        return
    layers = group["layers"] if "layers" in group else group["_layer_checkpoint_dependencies"]
    for name in sorted(layers, key=lambda name: [int(part) if part.isdigit() else part for part in
                                                 re.split(r"(\d+)", name)]):
        variables = layers[name].get("vars", {})
        arrays = [np.asarray(variables[key]) for key in sorted(variables, key=int)]
        if arrays:
            yield arrays


def _by_kind(layers):
    kinds: dict[str, list] = {"convolution": [], "dense": [], "normalisation": []}
    for arrays in layers:
        rank = arrays[0].ndim
        kinds["convolution" if rank == 4 else "dense" if rank == 2 else "normalisation"].append(
            arrays)
    return kinds


def _kind_of(layer) -> str | None:
    if isinstance(layer, (Conv2D, DepthwiseConv2D)):
        return "convolution"
    if isinstance(layer, Dense):
        return "dense"
    return "normalisation" if isinstance(layer, BatchNorm) else None


def _turned(kind, layer, arrays, flattened) -> dict[str, np.ndarray]:
    if kind == "normalisation":
        names = [*layer.params, *layer.buffers]
        if len(names) != len(arrays):
            raise ValueError(f"load_weights: a normalisation of the file has {len(arrays)} arrays, "
                             f"expected {len(names)} ({', '.join(names)})")
        return dict(zip(names, arrays, strict=True))
    weight = arrays[0]
    if kind == "dense":
        if flattened is not None:  # from (H, W, C) to (C, H, W)
            c, h, w = flattened
            weight = weight.reshape(h, w, c, -1).transpose(2, 0, 1, 3).reshape(weight.shape)
        weight = weight.T
    elif layer.params["weight"].shape[1] == 1 and weight.shape[2] > 1:  # depthwise
        weight = weight.transpose(2, 3, 0, 1).reshape(-1, 1, *weight.shape[:2])
    else:
        weight = weight.transpose(3, 2, 0, 1)
    return {"weight": weight} | ({"bias": arrays[1]} if len(arrays) > 1 else {})


def _named(layer, prefix=""):
    """Every layer inside, with what its parameters' names begin with."""
    for child in layer.children:
        inner = child.prefix(prefix)
        yield inner, child
        yield from _named(child, inner)
