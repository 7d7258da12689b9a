"""Models as safetensors files: all arrays by name, the architecture as JSON beside them.

Nothing in such a file can run code, unlike a pickle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.nn._typing import Path as Path_

if TYPE_CHECKING:
    from engine.nn.model import Model

import glob
import json
import os
from importlib import import_module
from pathlib import Path

import numpy as np

from engine.nn import _check, initializers
from engine.nn._extras import need
from engine.nn.devices import to_host
from engine.nn.layer import Layer

FORMAT = "convengine-1"
TRAINING = "training"  # its metadata, and the first part of the names of its arrays
ELSEWHERE = {"OnnxModel": "engine.interop.onnx"}  # layers imported only when a file has them
ARRAY = "array:"  # the key under which JSON names an array


def save(model, path, training: dict | None = None) -> None:
    """Write the model; whoever reads `path` sees the old file or the new one, never a part.

    `training` is kept beside it: dicts and lists of what JSON can hold and of arrays.
    """
    description = {"format": FORMAT, "architecture": describe(model),
                   "input_shape": model.input_shape, "epochs_done": model.epochs_done,
                   "frozen_until": model.frozen_until, "metadata": model.metadata}
    arrays = {name: to_host(value) for name, value in model.arrays()}
    metadata = {"engine": json.dumps(description, default=_plain)}
    if training is not None:
        metadata[TRAINING] = json.dumps(_pack(training, TRAINING, arrays), default=_plain)
    write_whole(path, need("safetensors.numpy", "saving a model").save(arrays, metadata=metadata))


def load(path: Path_) -> Model:
    """The model that `Model.save` wrote to `path`; one in an ONNX file, if the name ends in .onnx.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or does not hold exactly the arrays of its architecture.
    """
    if Path(path).suffix == ".onnx":
        return import_module(ELSEWHERE["OnnxModel"]).load(path)
    description, arrays, _ = read(path)
    try:
        model = restore(description["architecture"])
        with initializers.undrawn():
            model.prepare(description["input_shape"])
        model.freeze(description.get("frozen_until"))
        model.epochs_done, model.metadata = description["epochs_done"], description["metadata"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"load: `{path}` does not describe a model: {error}") from error
    fill(path, dict(model.arrays()), arrays)
    return model


def read(path) -> tuple[dict, dict[str, np.ndarray], dict | None]:
    """The description of a model, its arrays, and the state of its training if that is there."""
    safetensors = need("safetensors", "loading a model")
    with open(path, "rb"):  # a missing file is an ordinary error of the system
        pass
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"load: `{path}` is not a whole safetensors file ({error}), "
                         "expected a model saved by engine.nn") from None
    description = json.loads(metadata.get("engine", "{}"))
    if description.get("format") != FORMAT:
        raise ValueError(f"load: `{path}` has format {description.get('format')}, "
                         f"expected {FORMAT}")
    training = json.loads(metadata[TRAINING]) if TRAINING in metadata else None
    ours = {name: value for name, value in arrays.items() if not name.startswith(TRAINING + "/")}
    return description, ours, _unpack(training, arrays)


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
        if value["layer"] in ELSEWHERE:
            import_module(ELSEWHERE[value["layer"]])
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


def remove_parts(path: Path) -> None:
    """Remove what killed processes have left of `write_whole`."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


def _pack(value, name: str, arrays: dict[str, np.ndarray]):
    """For JSON: the arrays in `value` are moved to `arrays`, under the name of their place."""
    if isinstance(value, np.ndarray) or hasattr(value, "__cuda_array_interface__"):
        arrays[name] = np.ascontiguousarray(to_host(value))
        return {ARRAY: name}
    if isinstance(value, dict):
        return {key: _pack(each, f"{name}/{key}", arrays) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(each, f"{name}/{i}", arrays) for i, each in enumerate(value)]
    return value


def _unpack(value, arrays: dict[str, np.ndarray]):
    """Undo `_pack`."""
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            return arrays[value[ARRAY]]
        return {key: _unpack(each, arrays) for key, each in value.items()}
    return [_unpack(each, arrays) for each in value] if isinstance(value, list) else value


def fill(path, params: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    """Copy the arrays of a file into a model's, which must be the same ones."""
    _check.same_arrays(f"load: `{path}` does not fit its architecture", params, arrays)
    for name, value in params.items():
        value[...] = arrays[name]


def _plain(value):
    """NumPy's numbers as Python's, for JSON."""
    return value.item()
