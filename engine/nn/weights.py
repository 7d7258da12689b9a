"""Weights from elsewhere, by name or else in order; nothing that could run code is ever read.

| file | whose |
|---|---|
| .safetensors | PyTorch's names, or those of `Model.save` |
| .npz | any |
| .onnx | the initialisers |
| .caffemodel | Caffe's blobs |
| .h5 | Keras, layers of a kind in order |
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.nn import _check, weights_caffe, weights_keras
from engine.nn._extras import need


def load(model, source) -> str:
    """Fill `model` from a file or from a mapping of names to arrays.

    If any name is one of the model's, all must be; otherwise the arrays are taken in their order.
    In order means that only sizes can be checked: the file has to list its layers as they run.
    PyTorch's counters of batches and a leading "module." are passed over, and so are torchvision's
    auxiliary heads if only one side has them.

    Returns
    -------
    str
        "names", "order" or, of Keras's files, "kinds": how the arrays were matched.

    Raises
    ------
    ValueError
        Which arrays are missing, which are not known, and which have another shape.
    """
    if not isinstance(source, (str, Path)):
        return _fill(model, "a mapping", dict(source))
    path = Path(source)
    if path.suffix in (".h5", ".hdf5"):
        _fill(model, path, weights_keras.read(path, model))
        return "kinds"
    if path.suffix not in READERS:
        raise ValueError(f"load_weights: `{path}` ends in {path.suffix!r}, expected one of "
                         f"{', '.join([*READERS, '.h5'])}")
    with open(path, "rb"):  # a missing file is an ordinary error of the system
        pass
    return _fill(model, path, READERS[path.suffix](path))


def _safetensors(path):
    safetensors = need("safetensors", "reading weights")
    with safetensors.safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _npz(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _onnx(path):
    onnx = need("onnx", "reading ONNX weights", extra="onnx")
    return {each.name: onnx.numpy_helper.to_array(each)
            for each in onnx.load(path).graph.initializer}


READERS = {".safetensors": _safetensors, ".npz": _npz, ".onnx": _onnx,
           ".caffemodel": weights_caffe.read}


AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads for training only: may be missing anywhere


def _fill(model, source, arrays: dict[str, np.ndarray]) -> str:
    wanted = dict(model.arrays())
    arrays = {name.removeprefix("module."): np.asarray(value) for name, value in arrays.items()
              if not name.endswith("num_batches_tracked")}
    by_name = bool(wanted.keys() & arrays.keys())
    here, there = ({head for head in AUXILIARY if any(name.startswith(head) for name in each)}
                   for each in (wanted, arrays))
    absent = tuple(here ^ there)
    wanted, arrays = ({name: value for name, value in each.items() if not name.startswith(absent)}
                      for each in (wanted, arrays))
    if not by_name:  # one after the other; what is left over keeps its name
        names = [*wanted, *list(arrays)[len(wanted):]]
        arrays = dict(zip(names, arrays.values(), strict=False))
    _check.same_arrays(f"load_weights: the arrays of `{source}` do not fit {model.title}",
                       wanted, arrays, fits=_fits)
    for name, value in wanted.items():
        value[...] = arrays[name].reshape(value.shape)
    return "names" if by_name else "order"


def _fits(shape, expected) -> bool:
    """Whether the shapes differ in axes of length 1 only, as Caffe's old files have."""
    return [n for n in shape if n != 1] == [n for n in expected if n != 1]
