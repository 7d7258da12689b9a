"""S- and C-cells, and the neocognitron made of them."""

import os
from pathlib import Path

import numpy as np
import pytest

import engine
from engine import datasets, nn


def strokes(n, seed=0):
    """Images of 12x12 with a horizontal (class 0) or a vertical line (class 1)."""
    rng = np.random.default_rng(seed)
    x, y = np.zeros((n, 1, 12, 12), np.float32), np.arange(n) % 2
    for image, kind, place in zip(x[:, 0], y, rng.integers(3, 9, n), strict=True):
        (image if kind == 0 else image.T)[place, 2:10] = rng.uniform(0.5, 1)
    return x, y


def cells(*layers, shape=(1, 12, 12), dtype="float64"):
    return nn.Sequential(layers, input_shape=shape, dtype=dtype)


def test_s_cells_follow_the_equation():
    model = cells(nn.SCells(2, 3, selectivity=2.0), shape=(2, 5, 5))
    layer, rng = model.layers[0], np.random.default_rng(0)
    layer.params["weight"][...] = rng.random(layer.params["weight"].shape)
    layer.params["inhibition"][...] = 3, 0.5
    x = rng.random((1, 2, 5, 5))
    y = model.predict(x)
    for plane, i, j in np.ndindex(2, 3, 3):
        seen = x[0, :, i:i + 3, j:j + 3]
        e = (layer.params["weight"][plane] * seen).sum()
        h = layer.params["inhibition"][plane] * np.sqrt((layer.window * seen**2).sum())
        expected = 2 * max(0, (1 + e) / (1 + 2 * 2 / 3 * h) - 1)
        assert y[0, plane, i, j] == pytest.approx(expected, rel=1e-12)
    assert layer.window.sum() == pytest.approx(1)


def test_c_cells_follow_the_equation():
    model = cells(nn.CCells(3, stride=2, alpha=0.4), shape=(3, 5, 5))
    x = np.random.default_rng(1).random((1, 3, 5, 5))
    window = model.layers[0].window[0, 0]
    blurred = np.array([[[(window * x[0, k, i:i + 3, j:j + 3]).sum() for j in (0, 2)]
                         for i in (0, 2)] for k in range(3)])
    z = np.maximum((1 + blurred) / (1 + blurred.mean(axis=0)) - 1, 0)
    np.testing.assert_allclose(model.predict(x)[0], z / (0.4 + z), rtol=1e-12)


def test_a_cell_responds_most_to_what_it_has_learned():
    model = cells(nn.SCells(3, 5, selectivity=4.0))
    layer, (x, _) = model.layers[0], strokes(2)
    assert layer.used == 0 and not model.predict(x).any()
    layer.learn(x[:1].astype(float))
    assert layer.used == 1
    down = model.predict(x)[1, 0]
    assert down.max() == 0
    square = layer._amplitude(x[:1].astype(float)).max() ** 2
    for strength in 1, 3:  # however strong it is, the response is close to 1
        e = 1e4 * strength * square
        expected = 4 * ((1 + e) / (1 + 4 / 5 * e) - 1)
        assert model.predict(strength * x[:1])[0, 0].max() == pytest.approx(expected, rel=1e-9)
        assert 0.99 < expected < 1


def test_lines_are_told_apart_without_labels():
    x, y = strokes(60)
    model = cells(nn.SCells(4, 5, padding=2, selectivity=2), nn.CCells(5, stride=2, padding=2),
                  nn.SCells(2, 6, selectivity=0.2, column=6), nn.CCells(1), nn.Flatten())
    nn.models.self_organize(model, x, selectivity=(4, 0.5), presentations=(20, None))
    names = nn.models.name_cells(model, x[:10], y[:10], classes=2)
    other, right = strokes(40, seed=1)
    assert (names[model.predict(other).argmax(axis=1)] == right).mean() == 1


def test_cells_are_saved_and_have_no_gradient(tmp_path):
    pytest.importorskip("safetensors")
    model, (x, _) = nn.models.neocognitron(cells=5), strokes(6)
    x = np.pad(x, ((0, 0), (0, 0), (8, 8), (8, 8)))
    nn.models.self_organize(model, x)
    model.save(tmp_path / "model")
    again = nn.load(tmp_path / "model")
    assert model.layers[4].used > 1
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert model.num_params == 5 * 64 * 49 + 5 + 64 * 16 * 25 + 64 + 16 * 25 + 16
    with pytest.raises(NotImplementedError, match="C3 .CCells.: cells have no gradient, expected"):
        model.backward(model.forward(x))
    with pytest.raises(ValueError, match="`layout` is NHWC, expected NCHW"):
        nn.Sequential([nn.SCells(2, 3)], input_shape=(5, 5, 1), layout="NHWC")


def test_digits_of_mnist():
    folder = Path(os.environ.get("ENGINE_DATA", ".")) / "mnist"
    if not folder.is_dir():
        pytest.skip("ENGINE_DATA names no folder with mnist")
    digits = datasets.load("mnist", folder)
    x, y = digits.x_train[:2000], digits.y_train[:2000]
    model = nn.models.neocognitron()
    with engine.num_threads(1):
        nn.models.self_organize(model, x, presentations=(300, 600, None))
        names = nn.models.name_cells(model, x, y)
        said = names[model.predict(digits.x_test[:1000]).argmax(axis=1)]
    assert (said == digits.y_test[:1000]).mean() > 0.8
