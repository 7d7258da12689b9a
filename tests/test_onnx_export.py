"""Models of engine.nn as ONNX: onnxruntime computes the same, and so does what is read back."""

import numpy as np
import pytest
from test_nn import LAYERS

from engine import nn

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
from engine.interop import onnx as engine_onnx  # noqa: E402

NOT_IN_ONNX = {"local response, even"}  # windows of an even size lean to the other side
NETWORK = [
    lambda: nn.Conv2D(4, 3, padding=1, bias=False, name="stem"),
    lambda: nn.BatchNorm(epsilon=1e-3),
    lambda: nn.ReLU(),
    lambda: nn.Residual([nn.Conv2D(8, 3, stride=2, padding=1), nn.BatchNorm()],
                        [nn.Conv2D(8, 1, stride=2)], activation="relu"),
    lambda: nn.LocalResponseNorm(5, alpha=0.1),
    lambda: nn.Concatenate([nn.Conv2D(4, 1), [nn.Conv2D(2, 1), nn.Conv2D(6, 3, padding=1)], []]),
    lambda: nn.MaxPool2D(3, stride=2, padding="same"),
    lambda: nn.Flatten(),
    lambda: nn.Dropout(),
    lambda: nn.Dense(5),
    lambda: nn.Softmax(),
]


def built(layers, shape, layout):
    """A model of those layers with random weights and statistics, and a batch for it."""
    if layout == "NHWC" and len(shape) > 1:
        shape = (*shape[1:], shape[0])
    model = nn.Sequential(layers, input_shape=shape, layout=layout, seed=1)
    rng = np.random.default_rng(2)
    model.weights += rng.normal(0, 0.1, model.weights.size).astype(np.float32)
    for layer in model.walk():
        for value in layer.buffers.values():
            value += rng.random(value.shape, np.float32)
    return model, 3 * rng.standard_normal((3, *shape), np.float32)


def check(model, x):
    """The exported model, run by onnxruntime and read back, gives what the model gives."""
    expected = model.predict(x)
    proto = engine_onnx.export(model)
    actual, = ort.InferenceSession(proto.SerializeToString()).run(None, {"input": x})
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    again = engine_onnx.load(proto)
    np.testing.assert_allclose(again.predict(x), expected, rtol=1e-5, atol=1e-6)
    return again


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", sorted(LAYERS.keys() - NOT_IN_ONNX))
def test_every_layer(name, layout):
    make, shape = LAYERS[name]
    check(*built([make()], shape, layout))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_network_of_all_kinds(layout):
    model, x = built([make() for make in NETWORK], (3, 12, 10), layout)
    again = check(model, x)
    expected, actual = dict(model.parameters()), dict(again.parameters())
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value)
    assert isinstance(again.children[-1], nn.Softmax)


@pytest.mark.parametrize("name, size", [
    ("lenet5", None), ("googlenet", 64), ("inception_v3", 75), ("resnet18", 33), ("resnet20", 16),
    ("resnet20_v2", 16), ("squeezenet1_1", 50), ("mobilenet_v2", 33)])
def test_networks_of_the_course(name, size):
    options = {"input_size": size} if size else {}
    model = nn.models.MODELS[name](classes=7, seed=1, **options)
    x = 0.1 * np.random.default_rng(2).standard_normal((2, *model.input_shape), np.float32)
    assert 0.001 < model.predict(x).std() < 0.3  # neither alike nor one class alone
    check(model, x)


@pytest.mark.parametrize("layer", [
    lambda: nn.Conv2D(4, 3, padding="same_lower", stride=2, dilation=2, groups=2),
    lambda: nn.Conv2D(4, 3, padding="full", padding_mode="edge"),
    lambda: nn.Conv2D(4, 3, padding=((0, 1), (2, 0)), padding_mode="wrap"),
    lambda: nn.ConvTranspose2D(4, 3, stride=2, padding="same"),
    lambda: nn.ConvTranspose2D(4, 2, stride=3, padding="same_lower"),
    lambda: nn.MaxPool2D(2, dilation=2, padding="same"),
    lambda: nn.MinPool2D(2, ceil_mode=True),
    lambda: nn.AvgPool2D(3, stride=2, padding=1, ceil_mode=True),
    lambda: nn.AvgPool2D(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    lambda: nn.Softmax(),
])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_geometries(layer, layout):
    check(*built([layer()], (4, 11, 9), layout))


def test_gradients_are_those_of_the_model():
    model, x = built([nn.Residual([nn.Conv2D(3, 3, padding=1)], activation="relu"),
                      nn.LocalResponseNorm(5, alpha=0.1),
                      nn.Concatenate([nn.MinPool2D(2), [nn.AvgPool2D(2), nn.Conv2D(2, 1)]]),
                      nn.Flatten(), nn.Dense(5), nn.Softmax()], (3, 12, 10), "NCHW")
    again = engine_onnx.load(engine_onnx.export(model))
    dy = np.random.default_rng(3).standard_normal((3, 5), np.float32)
    results = []
    for each in model, again:
        each.forward(x, training=True)
        results.append((each.backward(dy), gradients(each)))
    (dx, grads), (dx_again, grads_again) = results
    np.testing.assert_allclose(dx_again, dx, rtol=1e-4, atol=1e-6)
    assert grads.keys() == grads_again.keys()
    for name, value in grads.items():
        np.testing.assert_allclose(grads_again[name], value, rtol=1e-3, atol=1e-5)


def gradients(model):
    """By the names of the parameters: both stand in the same order."""
    found = [layer.grads[name] for layer in model.walk() for name in layer.params]
    return dict(zip((name for name, _ in model.parameters()), found, strict=True))


def test_the_file_is_whole_and_keeps_the_metadata(tmp_path):
    model, x = built([nn.Flatten(), nn.Dense(2)], (2, 3), "NCHW")
    model.metadata = {"classes": ["no", "yes"]}
    model.epochs_done = 7
    engine_onnx.export(model, tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    again = engine_onnx.load(tmp_path / "model.onnx")
    assert again.metadata == model.metadata and again.epochs_done == 7
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


def test_layers_that_onnx_has_not_are_listed():
    class Strange(nn.Layer):
        def forward(self, x, training=False):
            return x

    model = nn.Sequential([Strange(), nn.Sequential([nn.LocalResponseNorm(4, name="even")]),
                           nn.LpPool2D(2, p=2.5)], input_shape=(3, 4, 4))
    with pytest.raises(NotImplementedError, match=r"^export: no ONNX operators for layer Strange; "
                       r"even \(LocalResponseNorm\) with an even `size`; lppool2d_1 \(LpPool2D\) "
                       r"with p=2.5, which is no integer$"):
        engine_onnx.export(model)
    with pytest.raises(ValueError, match="export: the model has no `input_shape` yet"):
        engine_onnx.export(nn.Sequential([nn.Dense(1)]))
