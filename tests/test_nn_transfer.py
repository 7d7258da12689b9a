"""Freezing the first layers of a network, and giving it a new head."""

import numpy as np
import pytest
from test_nn_training import bars

from engine import nn


def network(**options):
    return nn.Sequential([
        nn.Sequential([nn.Conv2D(4, 3, activation="relu", name="0"), nn.BatchNorm(name="1"),
                       nn.Dropout(0.5, name="2"),
                       nn.Residual([nn.Conv2D(4, 3, padding=1)], name="3")], name="features"),
        nn.MaxPool2D(2, name="pool"),
        nn.Sequential([nn.Flatten(name="flat"), nn.Dense(6, activation="tanh", name="hidden"),
                       nn.Dense(2, activation="relu", name="out")], name="classifier"),
        nn.Softmax(name="softmax"),
    ], input_shape=(1, 8, 8), **{"seed": 0} | options)


def arrays(model):
    return {name: value.copy() for name, value in model.arrays()}


def changed(model, before):
    return [name for name, value in model.arrays() if (value != before[name]).any()]


OUT = ["classifier.out.weight", "classifier.out.bias"]
HIDDEN = ["classifier.hidden.weight", "classifier.hidden.bias"]
BLOCK = ["features.3.conv2d_1.weight", "features.3.conv2d_1.bias"]
NORM = [f"features.1.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
FIRST = ["features.0.weight", "features.0.bias"]


@pytest.mark.parametrize("until, trained", [
    (None, FIRST + NORM + BLOCK + HIDDEN + OUT),
    ("features.0", NORM + BLOCK + HIDDEN + OUT),
    ("features.1", BLOCK + HIDDEN + OUT),
    ("features.2", BLOCK + HIDDEN + OUT),
    ("features.3", HIDDEN + OUT),
    ("features", HIDDEN + OUT),
    ("pool", HIDDEN + OUT),
    ("classifier.hidden", OUT),
    ("classifier", []),
])
@pytest.mark.parametrize("optimizer", [nn.AdamW(0.01), nn.SGD(0.01, momentum=0.9)])
def test_only_what_comes_after_is_trained(until, trained, optimizer):
    model = network()
    model.freeze(until)
    before = arrays(model)
    model.fit(*bars(32), batch_size=16, epochs=2, progress=False, optimizer=optimizer)
    assert changed(model, before) == trained
    assert model.trained_weights.size == sum(
        value.size for name, value in model.parameters() if name in trained)


def test_the_trained_part_learns_as_if_it_were_alone():
    x, y = bars(64)
    whole = network()
    whole.freeze("pool")
    alone = nn.Sequential([nn.Sequential([
        nn.Flatten(), nn.Dense(6, activation="tanh"), nn.Dense(2, activation="relu")]),
        nn.Softmax()], input_shape=(4, 3, 3), seed=0)
    alone.weights[:] = whole.trained_weights
    features = x
    for layer in whole.layers[:2]:
        features = layer.forward(features)
    for model, data in (whole, x), (alone, features):
        model.fit(data, y, epochs=3, batch_size=16, optimizer=nn.Adam(0.01), progress=False)
    np.testing.assert_array_equal(whole.trained_weights, alone.weights)


def test_no_gradient_passes_the_frozen_part(monkeypatch):
    model = network()
    model.freeze("features.2")

    def never(*args):
        raise AssertionError("backward of a frozen layer")

    for layer in [*model.layers[0].layers[:3], model.layers[0].layers[3].shortcut]:
        monkeypatch.setattr(layer, "backward", never if layer.name != "shortcut"
                            else layer.backward)
    model.fit(*bars(16), progress=False)
    asked = []
    block = model.layers[0].layers[3].layers.layers[0]
    original = block.backward
    monkeypatch.setattr(block, "backward",
                        lambda dy, need_dx=True: asked.append(need_dx) or original(dy, need_dx))
    model.fit(*bars(16), progress=False)
    assert asked == [False]


def test_the_summary_counts_what_is_frozen(capsys):
    model = network()
    model.summary()
    assert "frozen" not in capsys.readouterr().out
    model.freeze("features")
    model.summary()
    assert f"{model.num_params - model.trained_weights.size:,} frozen" in capsys.readouterr().out


def test_freezing_can_be_undone_and_is_saved(tmp_path):
    pytest.importorskip("safetensors")
    model = network()
    model.freeze("features")
    model.save(tmp_path / "model")
    again = nn.load(tmp_path / "model")
    assert again.frozen_until == "features"
    assert again.trained_weights.size == model.trained_weights.size < model.weights.size
    again.freeze(None)
    before = arrays(again)
    again.fit(*bars(32), progress=False)
    assert changed(again, before) == list(before)


def test_a_frozen_training_resumes(tmp_path):
    pytest.importorskip("safetensors")
    whole, part = network(), network()
    for model in whole, part:
        model.freeze("features.1")
    x, y = bars(48)
    options = dict(batch_size=16, epochs=2, progress=False)
    whole.fit(x, y, optimizer=nn.Adam(0.01), **options)

    class Stop(nn.Callback):
        def on_batch_end(self, model, step, logs):
            model.stop_training = model.run.epoch == 1

    part.fit(x, y, optimizer=nn.Adam(0.01), **options,
             callbacks=[Stop(), nn.Checkpoint(tmp_path / "run", every=1)])
    again = nn.load(tmp_path / "run")
    again.fit(x, y, optimizer=nn.Adam(0.01), resume=tmp_path / "run", **options)
    np.testing.assert_array_equal(again.weights, whole.weights)
    again.freeze("features")
    with pytest.raises(ValueError, match="with mean of shape .* what is frozen differs"):
        again.fit(x, y, optimizer=nn.Adam(0.01), resume=tmp_path / "run", **options)


def test_a_new_head_keeps_all_other_weights():
    model = network()
    model.metadata = {"classes": ["row", "column"], "source": "bars"}
    model.fit(*bars(32), progress=False)
    model.freeze("features")
    before = arrays(model)
    head = model.replace_head(5)
    assert (head.name, head.out_features, head.activation) == ("out", 5, None)
    assert model.output_shape == (5,) and model.metadata == {"source": "bars"}
    assert dict(model.parameters())["classifier.out.weight"].shape == (5, 6)
    after = dict(model.arrays())
    for name, value in before.items():
        if name not in OUT:
            np.testing.assert_array_equal(after[name], value)
    assert model.trained_weights.size == sum(after[name].size for name in HIDDEN + OUT)
    x, _ = bars(10)
    model.fit(x, np.arange(10) % 5, progress=False)


def test_a_head_that_is_a_convolution():
    model = nn.models.squeezenet1_1(seed=0, input_size=64)
    body = model.layers[0].layers[0].params["weight"].copy()
    head = model.replace_head(5)
    assert head.params["weight"].shape == (5, 512, 1, 1) and model.output_shape == (5,)
    np.testing.assert_array_equal(model.layers[0].layers[0].params["weight"], body)
    model.freeze("features.9")
    assert model.trained_weights.size == sum(
        value.size for name, value in model.parameters()
        if name.startswith(("features.10.", "features.11.", "features.12.", "classifier.")))


def test_messages():
    with pytest.raises(ValueError) as raised:
        network().freeze("features.9")
    assert str(raised.value) == (
        "freeze: `until` is 'features.9', expected None or one of 'features', 'features.0', "
        "'features.1', 'features.2', 'features.3', 'pool', 'classifier', 'classifier.flat', "
        "'classifier.hidden', 'classifier.out', 'softmax'")
    with pytest.raises(TypeError, match="replace_head: `classes` is 2.5, expected an integer"):
        network().replace_head(2.5)
    with pytest.raises(ValueError, match="replace_head: the last layer with parameters is "
                                         "batchnorm_1 .BatchNorm., expected a dense layer"):
        nn.Sequential([nn.Dense(3), nn.BatchNorm()], input_shape=(4,)).replace_head(2)
