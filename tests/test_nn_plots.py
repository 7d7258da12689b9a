"""Looking into networks: feature maps, Grad-CAM, and the pictures as PNG files."""

import numpy as np
import pytest
from test_nn_training import bars
from test_nn_transfer import network

from engine import nn
from engine.nn import plots

image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")


def pixels(path):
    with image.open(path) as file:
        assert file.format == "PNG"
        return np.asarray(file)


def test_feature_maps_are_the_outputs_of_the_layer():
    model, (x, _) = network(), bars(3)
    row = model.layers[0]
    first = row.layers[0].forward(x)
    np.testing.assert_array_equal(nn.feature_maps(model, x, "features.0"), first)
    whole = model.layers[1].forward(row.forward(x))
    np.testing.assert_array_equal(nn.feature_maps(model, x, "pool"), whole)
    np.testing.assert_array_equal(nn.feature_maps(model, x, "softmax"), model.predict(x))


def small(layout="NCHW", classes=3):
    shape = (2, 9, 8) if layout == "NCHW" else (9, 8, 2)
    return nn.Sequential([
        nn.Conv2D(5, 3, activation="tanh", name="conv"), nn.Dropout(0.5), nn.MaxPool2D(2),
        nn.Conv2D(4, 2, activation="relu", name="last"), nn.Flatten(), nn.Dropout(0.5),
        nn.Dense(classes), nn.Softmax()], input_shape=shape, layout=layout, dtype="float64", seed=1)


@pytest.mark.parametrize("layer, after", [("conv", 1), ("last", 4), (None, 4)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_grad_cam_is_its_formula(layer, after, layout):
    """The gradient of the logit by finite differences."""
    model = small(layout)
    x = np.random.default_rng(0).standard_normal(model.input_shape)
    maps = nn.feature_maps(model, x[None], layer or "last")

    def logit(maps):
        for each in model.layers[after:-1]:
            maps = each.forward(maps)
        return maps[0, 2]

    slopes = np.zeros_like(maps)
    for i in np.ndindex(maps.shape):
        step = np.zeros_like(maps)
        step[i] = 1e-6
        slopes[i] = (logit(maps + step) - logit(maps - step)) / 2e-6
    channel, space = (1, (2, 3)) if layout == "NCHW" else (3, (1, 2))
    heat = np.maximum((slopes.mean(axis=space, keepdims=True) * maps).sum(axis=channel)[0], 0)
    assert heat.max() > 0
    found = nn.grad_cam(model, x, target=2, layer=layer)
    np.testing.assert_allclose(found, heat / heat.max(), atol=1e-6)


def test_grad_cam_leaves_the_model_as_it_was():
    model = small()
    x = np.random.default_rng(0).standard_normal((4, *model.input_shape))
    said, state = model.predict(x), model.layers[1].rng.bit_generator.state
    best = said[0].argmax()
    np.testing.assert_array_equal(nn.grad_cam(model, x[0]), nn.grad_cam(model, x[0], target=best))
    model.freeze("last")
    np.testing.assert_array_equal(nn.grad_cam(model, x[0], layer="conv"),
                                  nn.grad_cam(small(), x[0], layer="conv"))
    assert model.layers[1].rate == 0.5 and model.frozen == 4
    assert model.layers[1].rng.bit_generator.state == state
    np.testing.assert_array_equal(model.predict(x), said)


def test_grad_cam_finds_the_bar():
    x, y = bars(300)
    x[:, :, :4] = np.random.default_rng(1).random((300, 1, 4, 8))  # all that counts is below
    model = nn.Sequential([nn.Conv2D(8, 3, padding=1, activation="relu", name="conv"),
                           nn.GlobalMaxPool2D(), nn.Flatten(), nn.Dense(2), nn.Softmax()],
                          input_shape=(1, 8, 8), seed=0)
    rng = np.random.default_rng(0)
    x[:, 0, 4:] = rng.random((300, 4, 8))
    x[y == 1, 0, 6, 3:6] += 3
    model.fit(x, y, epochs=10, optimizer=nn.Adam(0.02), progress=False)
    assert model.evaluate(x, y)["accuracy"] > 0.95
    heat = nn.grad_cam(model, x[1], target=1)
    assert heat.shape == (8, 8) and heat.max() == 1
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 5 <= row <= 7 and 2 <= column <= 6
    assert heat[:4].mean() < 0.2 * heat[5:].max()


def test_pictures_are_drawn(tmp_path):
    plots.history({"loss": [1, 0.5], "accuracy": [0.5, 0.75], "val_loss": [1, 0.7],
                   "val_accuracy": [0.4, 0.6]}, tmp_path / "history.png", "bars")
    plots.confusion_matrix([[8, 2], [0, 9]], ["row", "column"], tmp_path / "confusion.png")
    model = small()
    x = np.random.default_rng(0).standard_normal(model.input_shape)
    plots.grad_cam(model, x[:, :, :], tmp_path / "cam.png", picture=np.zeros((9, 8, 3), np.uint8))
    for name in "history", "confusion", "cam":
        drawn = pixels(tmp_path / f"{name}.png")
        assert drawn.shape[0] > 100 and drawn.std() > 10, name
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cam.png", "confusion.png",
                                                                "history.png"]


def test_a_mosaic_of_filters(tmp_path):
    grey, colour = nn.Conv2D(5, 3), nn.Conv2D(4, (2, 3))
    nn.Sequential([grey], input_shape=(1, 8, 8), seed=0)
    nn.Sequential([colour], input_shape=(3, 8, 8), seed=0)
    plots.filters(grey, tmp_path / "grey.png")
    drawn = pixels(tmp_path / "grey.png")
    factor = 512 // 11  # three tiles and two lines between them
    assert drawn.shape == (7 * factor, 11 * factor)
    weight = grey.params["weight"]
    expected = np.round((weight[4, 0] / np.abs(weight).max() / 2 + 0.5) * 255)
    middle = drawn[factor // 2::factor, factor // 2::factor]
    np.testing.assert_allclose(middle[4:7, 4:7], expected, atol=1)
    assert (middle[3] == 255).all()
    plots.filters(colour, tmp_path / "colour.png", limit=2)
    assert pixels(tmp_path / "colour.png").shape[2] == 3


def test_a_mosaic_of_feature_maps(tmp_path):
    model = small("NHWC")
    x = np.random.default_rng(0).standard_normal(model.input_shape)
    plots.feature_maps(model, x, "conv", tmp_path / "maps.png")
    drawn = pixels(tmp_path / "maps.png")
    factor = 512 // 20  # three tiles of 7x6 in a row, two rows
    assert drawn.shape == (15 * factor, 20 * factor) and drawn.min() == 0 and drawn.max() == 255
    maps = nn.feature_maps(model, x[None], "conv")[0, :, :, 0]
    tile = drawn[factor // 2::factor, factor // 2::factor][:7, :6]
    np.testing.assert_allclose(tile, (maps - maps.min()) / np.ptp(maps) * 255, atol=1)


MESSAGES = {
    "layer": (lambda: nn.feature_maps(small(), np.zeros((1, 2, 9, 8)), "conv3"),
              "feature_maps: `layer` is 'conv3', expected one of 'conv', 'dropout_1'"),
    "norm": (lambda: nn.grad_cam(network(), np.zeros((1, 8, 8)), layer="features.0"),
             "grad_cam: 1 (BatchNorm) comes after `layer`, expected a layer after the last"),
    "target": (lambda: nn.grad_cam(small(), np.zeros((2, 9, 8)), target=3),
               "grad_cam: `target` is 3, expected 0 to 2"),
    "rows": (lambda: nn.grad_cam(nn.Sequential([nn.Dense(3)], input_shape=(4,)), np.zeros(4)),
             "grad_cam: no layer of the model has maps of more than one pixel"),
    "no filters": (lambda: plots.filters(nn.Dense(3, name="d"), "never"),
                   "filters: `layer` is d (Dense), expected a 2-D convolution"),
    "matrix": (lambda: plots.confusion_matrix([[1, 0], [0, 1]], "abc", "never"),
               "confusion_matrix: `matrix` has shape (2, 2), expected (3, 3) (as many as names)"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    call, message = MESSAGES[name]
    with pytest.raises(ValueError) as raised:
        call()
    assert message in str(raised.value)
