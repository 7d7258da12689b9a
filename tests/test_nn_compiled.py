"""Compiled models: the same answers, without allocating anything."""

import tracemalloc

import numpy as np
import pytest

from engine import nn

SIZES = {"lenet5": 28, "alexnet_torchvision": 63, "alexnet": 67, "googlenet": 64,
         "googlenet_torchvision": 64, "inception_v3": 75, "resnet18": 40, "resnet50": 40,
         "resnet20": 16, "resnet20_v2": 16, "squeezenet1_1": 50, "mobilenet_v2": 40}


def awake(model, seed=1):
    """Give every array a value that is not trivial."""
    rng = np.random.default_rng(seed)
    for name, value in model.arrays():
        if value.ndim == 1:
            value += 0.2 * (rng.random(value.shape) - (0 if "running_var" in name else 0.5))
    return model


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", SIZES)
def test_known_networks(name, order):
    options = {} if name == "lenet5" else {"input_size": SIZES[name]}
    model = awake(nn.models.MODELS[name](classes=7, seed=0, **options))
    compiled = nn.compile(model, 2, order=order)
    x = np.random.default_rng(2).standard_normal((2, *model.input_shape)).astype("float32")
    expected = model.predict(x)
    np.testing.assert_allclose(compiled(x), expected, rtol=1e-3, atol=1e-5)
    again = compiled(x[::-1]).copy()
    np.testing.assert_array_equal(again[::-1], compiled(x))


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_layers_of_every_kind(layout, order):
    """Also those that it does not know."""
    model = awake(nn.Sequential([
        nn.Conv2D(4, 3, padding=1, activation="tanh"), nn.BatchNorm(),
        nn.DepthwiseConv2D(3, padding=1), nn.BatchNorm(), nn.BatchNorm(),
        nn.Concatenate([[], nn.MaxPool2D(3, stride=1, padding=1), [nn.Dropout(), nn.GELU()],
                        nn.Concatenate([nn.Conv2D(2, 1), [nn.BatchNorm(), nn.ReLU6()]])]),
        nn.Residual([nn.LocalResponseNorm(3)], nn.Conv2D(18, 1), activation="sigmoid"),
        nn.Residual([nn.AvgPool2D(3, stride=1, padding=1)]),
        nn.Flatten(), nn.Dropout(), nn.Dense(6), nn.Sigmoid(), nn.BatchNorm(),
        nn.Concatenate([nn.Dense(3), nn.Dense(2, activation="relu")]), nn.Softmax(),
    ], input_shape=(3, 6, 5) if layout == "NCHW" else (6, 5, 3), layout=layout, dtype="float64",
        seed=0))
    x = np.random.default_rng(1).standard_normal((3, *model.input_shape))
    np.testing.assert_allclose(nn.compile(model, 3, order=order)(x), model.predict(x), rtol=1e-10)


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("last", [[], [nn.Flatten], [nn.Flatten, nn.GELU]])
def test_images_and_features_come_out_as_the_model_has_them(last, layout, order):
    model = nn.Sequential([nn.Conv2D(4, 3), *(kind() for kind in last)], layout=layout, seed=0,
                          input_shape=(2, 6, 5) if layout == "NCHW" else (6, 5, 2))
    x = np.random.default_rng(1).standard_normal((2, *model.input_shape)).astype("float32")
    np.testing.assert_allclose(nn.compile(model, 2, order=order)(x), model.predict(x), rtol=1e-4,
                               atol=1e-6)


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", "alexnet"])
def test_a_second_inference_allocates_nothing(name, order):
    model = nn.models.MODELS[name](classes=7, seed=0, input_size=67)
    compiled = nn.compile(model, order=order)
    x = np.zeros((1, *model.input_shape), "float32")
    compiled(x), compiled(x)
    tracemalloc.start()
    try:
        compiled(x)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        compiled(x)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1024 and peak - before < 16 * 1024  # views and numbers, no images


def test_results_share_memory():
    model = nn.models.MODELS["vgg16"](classes=3, seed=0, input_size=32)
    x = 3 * 32 * 32 * 4
    largest = 64 * 32 * 32 * 4
    assert nn.compile(model).nbytes <= x + 2 * largest + 64


def test_wrong_input():
    compiled = nn.compile(nn.models.lenet5(seed=0), 4)
    with pytest.raises(ValueError, match=r"`x` has shape \(1, 1, 28, 28\), expected \(4, 1, 28"):
        compiled(np.zeros((1, 1, 28, 28)))
    with pytest.raises(ValueError, match="has no `input_shape` yet"):
        nn.compile(nn.Sequential([nn.Dense(2)]))
