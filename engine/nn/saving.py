"""Models as safetensors files: all arrays by name, the architecture as JSON beside them.

Nothing in such a file can run code, unlike a pickle.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from engine.nn._extras import need
from engine.nn.layer import Layer

FORMAT = "convengine-1"


def save(model, path) -> None:
    """Write the model; whoever reads `path` sees the old file or the new one, never a part."""
    description = {"format": FORMAT, "architecture": describe(model),
                   "input_shape": model.input_shape, "epochs_done": model.epochs_done,
                   "metadata": model.metadata}
    data = need("safetensors.numpy", "saving a model").save(
        dict(model.arrays()), metadata={"engine": json.dumps(description, default=_plain)})
    write_whole(path, data)


def load(path):
    """The model that `Model.save` wrote to `path`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or does not hold exactly the arrays of its architecture.
    """
    safetensors = need("safetensors", "loading a model")
    with open(path, "rb"):  # a missing file is an ordinary error of the system
        pass
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("engine", "{}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: `{path}` is not a whole safetensors file ({error}), "
                         "expected a model saved by engine.nn") from None
    description = json.loads(text)
    if description.get("format") != FORMAT:
        raise ValueError(f"load: `{path}` has format {description.get('format')}, "
                         f"expected {FORMAT}")
    try:
        model = restore(description["architecture"])
        model.prepare(description["input_shape"])
        model.epochs_done, model.metadata = description["epochs_done"], description["metadata"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"load: `{path}` does not describe a model: {error}") from error
    _fill(path, dict(model.arrays()), arrays)
    return model


def describe(value):
    """A layer as plain values: its class and arguments, layers among them likewise."""
    if isinstance(value, Layer):
        arguments = {name: describe(each) for name, each in value.config().items()}
        return {"layer": type(value).__name__} | arguments
    if isinstance(value, (list, tuple)):
        return [describe(each) for each in value]
    return value


def restore(value):
    """Undo `describe`."""
    if isinstance(value, dict) and "layer" in value:
        arguments = {name: restore(each) for name, each in value.items() if name != "layer"}
        if value["layer"] not in Layer.kinds:
            raise ValueError(f"load: unknown layer {value['layer']}, expected one of "
                             f"{', '.join(sorted(Layer.kinds))}")
        if "input_shape" in arguments:
            arguments["input_shape"] = None  # the outermost model is built once, by `load`
        return Layer.kinds[value["layer"]](**arguments)
    return [restore(each) for each in value] if isinstance(value, list) else value


def write_whole(path, data: bytes) -> None:
    """Write a file in full under another name beside it, then put it in place at one stroke."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _fill(path, params: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    faults = [f"{name} is missing" for name in params if name not in arrays]
    faults += [f"{name} is not known" for name in arrays if name not in params]
    faults += [f"{name} has shape {arrays[name].shape}, expected {value.shape}"
               for name, value in params.items()
               if name in arrays and arrays[name].shape != value.shape]
    if faults:
        raise ValueError(f"load: `{path}` does not fit its architecture: {'; '.join(faults)}")
    for name, value in params.items():
        value[...] = arrays[name]


def _plain(value):
    """NumPy's numbers as Python's, for JSON."""
    return value.item()
