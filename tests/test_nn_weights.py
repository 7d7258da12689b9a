"""Weights from files of other libraries, by name and in order."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from engine import nn


def small(layout="NCHW"):
    return nn.Sequential([
        nn.Conv2D(4, 3, padding=1, name="first"), nn.BatchNorm(name="norm"), nn.ReLU(),
        nn.DepthwiseConv2D(3, padding=1, name="deep"), nn.MaxPool2D(2), nn.Flatten(),
        nn.Dense(5, name="last"), nn.Softmax(),
    ], input_shape=(2, 6, 6) if layout == "NCHW" else (6, 6, 2), layout=layout, seed=0)


def arrays_of(model):
    rng = np.random.default_rng(1)
    return {name: rng.random(value.shape, np.float32) for name, value in model.arrays()}


def check(model, arrays):
    for (name, value), other in zip(model.arrays(), arrays.values(), strict=True):
        np.testing.assert_array_equal(value, other, err_msg=name)


@pytest.mark.parametrize("renamed, matched", [(False, "names"), (True, "order")])
@pytest.mark.parametrize("suffix", ["npz", "safetensors", "onnx"])
def test_files(suffix, renamed, matched, tmp_path):
    model = small()
    arrays = arrays_of(model)
    named = {f"{i:02}_{name}" if renamed else f"module.{name}": value
             for i, (name, value) in enumerate(arrays.items())}
    path = tmp_path / f"weights.{suffix}"
    if suffix == "npz":
        np.savez(path, **named, **{"norm.num_batches_tracked": np.int64(3)})
    elif suffix == "safetensors":
        pytest.importorskip("safetensors.numpy").save_file(named, path)
    else:
        onnx = pytest.importorskip("onnx")
        graph = onnx.helper.make_graph([], "g", [], [], [
            onnx.numpy_helper.from_array(value, name) for name, value in named.items()])
        onnx.save(onnx.helper.make_model(graph), path)
    assert model.load_weights(path) == matched
    check(model, arrays)


def test_what_does_not_fit_is_listed(tmp_path):
    model = small()
    before = model.weights.copy()
    arrays = arrays_of(model)
    del arrays["norm.bias"], arrays["deep.bias"]
    arrays |= {"other.weight": np.ones(3), "last.bias": np.ones(6), "aux1.fc.bias": np.ones(2)}
    with pytest.raises(ValueError) as caught:
        model.load_weights(arrays)
    assert str(caught.value) == (
        "load_weights: the arrays of `a mapping` do not fit Sequential: "
        "missing: norm.bias, deep.bias; not known: other.weight; "
        "of another shape: last.bias is (6,), expected (5,)")
    np.testing.assert_array_equal(model.weights, before)
    with pytest.raises(ValueError, match="ends in '.pt', expected one of .safetensors, .npz"):
        model.load_weights(tmp_path / "weights.pt")
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "none.npz")
    np.savez(tmp_path / "pickle.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        model.load_weights(tmp_path / "pickle.npz")


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def test_caffe_files(tmp_path):
    """Both forms of blobs, written byte by byte."""
    pytest.importorskip("google.protobuf")
    model = nn.Sequential([nn.Flatten(), nn.Dense(3, name="a"), nn.Dense(2, name="b")],
                          input_shape=(1, 2, 2))
    arrays = arrays_of(model)
    w, bias, w2, bias2 = arrays.values()
    new = [field(7, field(1, b"".join(map(varint, v.shape)))) + field(5, v.tobytes())
           for v in (w, bias)]
    old = [b"".join(bytes([key << 3]) + varint(n) for key, n in
                    enumerate((1,) * (4 - v.ndim) + v.shape, 1)) + field(5, v.tobytes())
           for v in (w2, bias2)]
    path = tmp_path / "net.caffemodel"
    path.write_bytes(field(100, field(1, b"one") + b"".join(field(7, blob) for blob in new))
                     + field(100, field(1, b"two") + b"".join(field(7, blob) for blob in old)))
    assert model.load_weights(path) == "order"
    check(model, arrays)
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(ValueError, match="is not a Caffe model"):
        model.load_weights(path)


KERAS = """
import sys, numpy as np, keras
model = keras.Sequential([
    keras.Input((6, 6, 2)), keras.layers.Conv2D(4, 3, padding="same"),
    keras.layers.BatchNormalization(epsilon=1e-5), keras.layers.ReLU(),
    keras.layers.DepthwiseConv2D(3, padding="same"), keras.layers.MaxPooling2D(),
    keras.layers.Flatten(), keras.layers.Dense(5, activation="softmax")])
rng = np.random.default_rng(0)
model.set_weights([0.2 * rng.random(w.shape, np.float32) for w in model.get_weights()])
model.save(sys.argv[1] + "/whole.h5")
model.save_weights(sys.argv[1] + "/some.weights.h5")
x = rng.random((3, 6, 6, 2), np.float32)
np.savez(sys.argv[1] + "/answer.npz", x=x, y=model.predict(x, verbose=0))
"""


def test_keras_files(tmp_path):
    for module in ("keras", "h5py", "torch"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    subprocess.run([sys.executable, "-c", KERAS, tmp_path], check=True, capture_output=True,
                   env=os.environ | {"KERAS_BACKEND": "torch"}, timeout=120)
    with np.load(tmp_path / "answer.npz") as answer:
        x, y = answer["x"], answer["y"]
    for file in ("whole.h5", "some.weights.h5"):
        for layout in ("NHWC", "NCHW"):
            model = small(layout)
            assert model.load_weights(tmp_path / file) == "kinds"
            images = x if layout == "NHWC" else x.transpose(0, 3, 1, 2)
            np.testing.assert_allclose(model.predict(images), y, rtol=1e-5, atol=1e-6)
    other = nn.Sequential([nn.Conv2D(4, 3)], input_shape=(2, 6, 6))
    with pytest.raises(ValueError, match="layers too many for Sequential: 1 convolution, 1 dense"):
        other.load_weights(tmp_path / "whole.h5")
