"""Labelled images to train on: scikit-learn's digits, MNIST, Fashion-MNIST.

Nothing is downloaded.  The digits come with scikit-learn; the others are read from their IDX files
in `data_dir`, else in the folder that the environment variable ENGINE_DATA names.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.nn._extras import need

DIGITS = tuple("0123456789")
CLOTHES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
           "boot")

# The third byte of an IDX file says what its numbers are; they are big-endian.
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Dataset:
    """Images (N, 1, 28, 28) as float32 from 0 to 1, their class numbers (N,), and the names.

    `box` is the size that a drawn figure is scaled to inside the 28x28, None if the whole picture
    is: what `engine predict` has to do to an image from elsewhere.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    box: int | None


def load(name: str, data_dir=None) -> Dataset:
    """The data set of that name: digits, mnist or fashion-mnist."""
    if name == "digits":
        return digits()
    if name == "mnist":
        return _from_idx(name, data_dir, DIGITS, box=20)
    if name == "fashion-mnist":
        return _from_idx(name, data_dir, CLOTHES, box=None)
    raise ValueError(f'datasets: `name` is "{name}", expected one of {", ".join(NAMES)}')


NAMES = ("digits", "mnist", "fashion-mnist")


def digits() -> Dataset:
    """The 1,797 handwritten digits of scikit-learn (8x8, from UCI), enlarged to 28x28.

    Every pixel becomes 3x3 of them and a border of 2 is added.  A fifth, the same 360 images every
    time, is held out for testing.
    """
    bunch = need("sklearn.datasets", "the digits data set").load_digits()
    x = (bunch.images / 16).astype(np.float32).repeat(3, axis=1).repeat(3, axis=2)
    x = np.pad(x, ((0, 0), (2, 2), (2, 2)))[:, None]
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[len(x) // 5 + 1:], order[:len(x) // 5 + 1]
    return Dataset("digits", x[train], bunch.target[train], x[test], bunch.target[test], DIGITS,
                   box=24)


def read_idx(path) -> np.ndarray:
    """Read one IDX file, gzip-compressed or not, as an array in native byte order.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is not an IDX file, or its size is not what its header says.
    """
    path = Path(path)
    with open(path, "rb") as plain:
        compressed = plain.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if compressed else open)(path, "rb") as file:
            return _parse_idx(path, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"read_idx: `{path}` is a damaged gzip file: {error}") from None


def _parse_idx(path, file) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_DTYPES or magic[3] == 0:
        raise ValueError(f"read_idx: `{path}` starts with {magic.hex(' ') or 'nothing'}, expected "
                         "an IDX header such as 00 00 08 03")
    dtype, ndim = np.dtype(IDX_DTYPES[magic[2]]), magic[3]
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(f"read_idx: `{path}` ends within its header, expected {ndim} sizes")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    expected = dtype.itemsize
    for size in shape:
        expected *= size
    data = _read_at_most(file, expected + 1)
    if len(data) != expected:
        length = "more" if len(data) > expected else f"{len(data)} bytes"
        raise ValueError(f"read_idx: `{path}` has {length} after its header, "
                         f"expected {expected} bytes for shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read_at_most(file, count: int) -> bytearray:
    """Up to `count` bytes; a header that lies about the size costs no memory."""
    data = bytearray()
    while len(data) < count and (piece := file.read(min(count - len(data), 1 << 20))):
        data += piece
    return data


def _from_idx(name: str, data_dir, classes: tuple[str, ...], box: int | None) -> Dataset:
    x_train, y_train = _pair(name, data_dir, "train", len(classes))
    x_test, y_test = _pair(name, data_dir, "t10k", len(classes))
    return Dataset(name, x_train, y_train, x_test, y_test, classes, box)


def _pair(name: str, data_dir, part: str, classes: int) -> tuple[np.ndarray, np.ndarray]:
    images_path = _find(name, data_dir, f"{part}-images-idx3-ubyte")
    labels_path = _find(name, data_dir, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ValueError(f"{name}: `{images_path}` has {images.dtype} of shape {images.shape}, "
                         "expected uint8 of shape (N, 28, 28)")
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise ValueError(f"{name}: `{labels_path}` has {labels.dtype} of shape {labels.shape}, "
                         f"expected uint8 of shape {images.shape[:1]}, one for each image")
    if labels.size and labels.max() >= classes:
        raise ValueError(f"{name}: `{labels_path}` has label {labels.max()}, "
                         f"expected 0 to {classes - 1}")
    x = images[:, None].astype(np.float32)
    x /= 255
    return x, labels.astype(np.int64)


def _find(name: str, data_dir, stem: str) -> Path:
    """The file of that name with or without .gz, in DIR/<data set> or DIR itself."""
    folder = data_dir or os.environ.get("ENGINE_DATA")
    if not folder:
        raise FileNotFoundError(f"{name}: no folder given, expected one with its four IDX files: "
                                "--data-dir DIR, or the environment variable ENGINE_DATA")
    places = [Path(folder, name), Path(folder)]
    spellings = [stem, stem.replace("-idx", ".idx")]
    for place in places:
        for spelling in spellings:
            for ending in "", ".gz":
                path = place / (spelling + ending)
                if path.is_file():
                    return path
    raise FileNotFoundError(f"{name}: {stem} or {stem}.gz not found in "
                            f"{' or '.join(map(str, places))}")


def read_cifar10(path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32), float32 from 0 to 1, and classes (N,) of CIFAR-10's binary files.

    Each picture is a byte for its class and 3,072 for its planes of red, green and blue.
    """
    path = Path(path)
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if not raw or len(raw) % 3073:
        raise ValueError(f"datasets: `{path}` has {len(raw)} bytes, expected a multiple of 3,073")
    rows = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
    return (rows[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255,
            rows[:, 0].astype(np.int64))
