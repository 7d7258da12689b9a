"""The digits, and the reader of MNIST's files."""

import gzip
import os
import struct

import numpy as np
import pytest

from engine import datasets


def idx(array, code=None):
    """`array` as the bytes of an IDX file."""
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    head = struct.pack(">BBBB", 0, 0, codes[array.dtype.str[1:]], array.ndim)
    return (head + struct.pack(f">{array.ndim}I", *array.shape)
            + array.astype(array.dtype.newbyteorder(">")).tobytes())


def write_mnist(folder, train=12, test=5, ending=".gz", stem="{}-{}-idx{}-ubyte", classes=10):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    pack = gzip.compress if ending == ".gz" else bytes
    for part, n in ("train", train), ("t10k", test):
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        labels = (np.arange(n) % classes).astype(np.uint8)
        (folder / (stem.format(part, "images", 3) + ending)).write_bytes(pack(idx(images)))
        (folder / (stem.format(part, "labels", 1) + ending)).write_bytes(pack(idx(labels)))


def test_digits_hold_out_a_fifth():
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    digits = datasets.digits()
    assert digits.x_train.shape == (1437, 1, 28, 28) and digits.x_test.shape == (360, 1, 28, 28)
    assert digits.x_train.dtype == np.float32 and 0 == digits.x_train.min() < digits.x_train.max()
    assert digits.x_train.max() == 1
    # no image is in both parts, and none is lost
    small = np.concatenate([digits.x_train, digits.x_test])[:, 0, 2:-2:3, 2:-2:3]
    ours = sorted(map(bytes, (small * 16).astype(np.uint8)))
    assert ours == sorted(map(bytes, bunch.images.astype(np.uint8)))
    assert np.bincount(digits.y_test, minlength=10).min() >= 25
    np.testing.assert_array_equal(datasets.digits().y_test, digits.y_test)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx_files_of_every_kind(tmp_path, dtype, compressed):
    array = np.arange(-12, 12).astype(dtype).reshape(2, 3, 4)
    data = idx(array)
    (tmp_path / "file").write_bytes(gzip.compress(data) if compressed else data)
    read = datasets.read_idx(tmp_path / "file")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype and read.dtype.isnative and read.flags.writeable


GOOD = idx(np.zeros((2, 3), np.uint8))
BAD_FILES = {
    "empty": (b"", "starts with nothing, expected an IDX header such as 00 00 08 03"),
    "png": (b"\x89PNG\r\n\x1a\n", "starts with 89 50 4e 47, expected an IDX header"),
    "type": (b"\0\0\x07\1\0\0\0\0", "starts with 00 00 07 01, expected an IDX header"),
    "no axes": (b"\0\0\x08\0", "starts with 00 00 08 00, expected an IDX header"),
    "header": (GOOD[:9], "ends within its header, expected 2 sizes"),
    "truncated": (GOOD[:-1], "has 5 bytes after its header, expected 6 bytes for shape (2, 3)"),
    "too long": (GOOD + b"\0", "has more after its header, expected 6 bytes"),
    "a lie": (b"\0\0\x08\3" + b"\xff" * 12,
              "has 0 bytes after its header, expected 79228162458924105385300197375 bytes"),
    "cut gzip": (gzip.compress(idx(np.arange(999.0)))[:-12], "is a damaged gzip file"),
    "not gzip": (b"\x1f\x8bnonsense", "is a damaged gzip file"),
    "bad sum": (gzip.compress(GOOD)[:-8] + b"\0" * 8, "is a damaged gzip file"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_idx_files_are_refused(tmp_path, name):
    data, message = BAD_FILES[name]
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ValueError) as raised:
        datasets.read_idx(path)
    assert f"read_idx: `{path}` {message}" in str(raised.value)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("stem", ["{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte"])
@pytest.mark.parametrize("subfolder", ["", "mnist"])
def test_mnist_is_found_under_its_usual_names(tmp_path, ending, stem, subfolder):
    write_mnist(tmp_path / subfolder, ending=ending, stem=stem)
    mnist = datasets.load("mnist", tmp_path)
    assert mnist.x_train.shape == (12, 1, 28, 28) and mnist.x_test.shape == (5, 1, 28, 28)
    assert mnist.x_train.dtype == np.float32 and 0.9 < mnist.x_train.max() <= 1
    np.testing.assert_array_equal(mnist.y_test, np.arange(5))
    assert mnist.classes[7] == "7"


def test_engine_data_names_the_folder_of_both_sets(tmp_path, monkeypatch):
    write_mnist(tmp_path / "mnist", train=3)
    write_mnist(tmp_path / "fashion-mnist", train=4)
    monkeypatch.setenv("ENGINE_DATA", str(tmp_path))
    assert len(datasets.load("mnist").x_train) == 3
    fashion = datasets.load("fashion-mnist")
    assert len(fashion.x_train) == 4 and fashion.classes[9] == "boot" and fashion.box is None


def test_messages_about_missing_and_mismatched_files(tmp_path, monkeypatch):
    monkeypatch.delenv("ENGINE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="mnist: no folder given, expected .* --data-dir"):
        datasets.load("mnist")
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte or .*.gz not found in"):
        datasets.load("mnist", tmp_path)
    with pytest.raises(ValueError, match='`name` is "cifar", expected one of digits, mnist'):
        datasets.load("cifar")
    write_mnist(tmp_path, ending="")
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(4, np.uint8)))
    with pytest.raises(ValueError, match=r"of shape \(4,\), expected uint8 of shape \(5,\)"):
        datasets.load("mnist", tmp_path)
    labels.write_bytes(idx(np.full(5, 10, np.uint8)))
    with pytest.raises(ValueError, match="has label 10, expected 0 to 9"):
        datasets.load("mnist", tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((5, 32, 32), np.uint8)))
    with pytest.raises(ValueError, match=r"expected uint8 of shape \(N, 28, 28\)"):
        datasets.load("mnist", tmp_path)


def has_mnist():
    folder = os.environ.get("ENGINE_DATA")
    return bool(folder) and os.path.isdir(os.path.join(folder, "mnist"))


@pytest.mark.skipif(not has_mnist(), reason="ENGINE_DATA names no folder with mnist/")
def test_the_real_mnist():
    mnist = datasets.load("mnist")
    assert mnist.x_train.shape == (60_000, 1, 28, 28) and mnist.x_test.shape == (10_000, 1, 28, 28)
    assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974,
                                                  1009]
    assert mnist.x_train.mean(dtype=np.float64) == pytest.approx(0.1307, abs=1e-4)
