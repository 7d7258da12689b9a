"""Training, evaluating, saving and loading models of engine.nn."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import engine
from engine import nn

safetensors_numpy = pytest.importorskip("safetensors.numpy")


def bars(n, seed=0):
    """Images with a bright row (class 0) or a bright column (class 1), in noise."""
    rng = np.random.default_rng(seed)
    x, y = rng.random((n, 1, 8, 8), np.float32), np.arange(n) % 2
    place = rng.integers(0, 8, n)
    x[y == 0, 0, place[y == 0]] += 3
    x[y == 1, 0, :, place[y == 1]] += 3
    return x, y


def network(last=None, outputs=2, **kwargs):
    return nn.Sequential([
        nn.Conv2D(4, 3, activation="relu"),
        nn.MaxPool2D(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Dense(outputs),
        last or nn.Softmax(),
    ], **{"seed": 0, **kwargs})


def train(model=None, **kwargs):
    model = model or network()
    x, y = bars(200)
    options = dict(epochs=6, batch_size=16, optimizer=nn.Adam(0.01), progress=False)
    return model, model.fit(x, y, **options | kwargs)


def test_training_learns_and_remembers():
    model, history = train(validation_data=bars(100, seed=1))
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 6 for values in history.values())
    assert history["loss"][-1] < history["loss"][0] / 2
    scores = model.evaluate(*bars(100, seed=1))
    assert scores["accuracy"] >= 0.9
    assert scores == {"loss": history["val_loss"][-1], "accuracy": history["val_accuracy"][-1]}
    x, y = bars(100, seed=1)
    assert (model.predict(x).argmax(axis=1) == y).mean() == scores["accuracy"]


def test_the_last_samples_are_split_off_for_validation():
    split, history = train(validation_split=0.1)  # of 200
    x, y = bars(200)
    given, other = network(), (x[180:], y[180:])
    expected = given.fit(x[:180], y[:180], epochs=6, batch_size=16, optimizer=nn.Adam(0.01),
                         validation_data=other, progress=False)
    assert history == expected and history["val_loss"][-1] == split.evaluate(*other)["loss"]
    np.testing.assert_array_equal(split.weights, given.weights)
    _, history = train(validation_split=0.1, validation_data=bars(30, seed=1))
    assert history["val_loss"] != expected["val_loss"]  # what is named wins
    assert len(train(validation_split=0)[1]) == 2


def test_training_with_one_sigmoid():
    model, history = train(network(nn.Sigmoid(), outputs=1),
                           optimizer=nn.SGD(0.02, momentum=0.9), epochs=10)
    assert history["accuracy"][-1] >= 0.9
    assert model.predict(bars(3)[0]).shape == (3, 1)


def test_one_hot_targets_train_alike():
    x, y = bars(64)
    first, second = network(), network()
    first.fit(x, y, progress=False)
    second.fit(x, np.eye(2)[y], progress=False)
    np.testing.assert_array_equal(first.weights, second.weights)


def test_the_last_activation_may_stay_outside_the_loss():
    class Weighted(nn.Layer):  # ends the model, so that softmax is not the last layer
        def forward(self, x, training=False):
            return x

        def backward(self, dy, need_dx=True):
            return dy

    x, y = bars(64)
    inside = network(dtype="float64")
    outside = nn.Sequential([*network().layers, Weighted()], dtype="float64", seed=0)
    inside.fit(x, y, progress=False)
    outside.fit(x, y, progress=False, loss=nn.CategoricalCrossEntropy())
    np.testing.assert_allclose(inside.weights, outside.weights, rtol=1e-9, atol=1e-12)


def test_seeded_training_is_reproducible_bit_for_bit():
    first, history = train()
    again, history_again = train()
    assert first.weights.tobytes() == again.weights.tobytes()
    assert history == history_again
    other, _ = train(network(seed=1))
    assert other.weights.tobytes() != first.weights.tobytes()
    with engine.num_threads(1):
        alone, _ = train()
    assert alone.weights.tobytes() == first.weights.tobytes()


def test_two_fits_continue_like_one():
    whole, _ = train(epochs=3, optimizer=nn.Adam(0.01))
    parts, adam = network(), nn.Adam(0.01)
    train(parts, epochs=1, optimizer=adam)
    train(parts, epochs=2, optimizer=adam)
    assert parts.weights.tobytes() == whole.weights.tobytes()
    assert parts.epochs_done == 3


def test_reproducible_in_another_process(tmp_path):
    code = ("import test_nn_training as t; model, _ = t.train(epochs=1); "
            "print(model.weights.tobytes().hex())")
    here, _ = train(epochs=1)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(
        [os.path.dirname(__file__), os.path.dirname(os.path.dirname(engine.__file__))])}
    # from another folder: -c looks in the present one first, which may hold an engine without C
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                           env=environment, cwd=tmp_path, check=True).stdout.strip()
    assert there == here.weights.tobytes().hex()


def test_callbacks_and_stopping():
    seen = []

    class StopEarly(nn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            seen.append((epoch, sorted(logs)))
            model.stop_training = epoch == 1

    model, history = train(callbacks=[StopEarly()])
    assert seen == [(0, ["accuracy", "loss"]), (1, ["accuracy", "loss"])]
    assert len(history["loss"]) == 2 and model.epochs_done == 2
    assert not model.stop_training  # and the next fit runs


def test_the_learning_rate_sees_the_progress():
    seen = []

    def lr(progress):
        seen.append(progress)
        return 0.01

    train(optimizer=nn.SGD(lr), epochs=2, batch_size=50)
    np.testing.assert_allclose(seen, np.arange(8) / 8)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_random_shifts_move_whole_images(layout):
    x = np.zeros((300, 2, 9, 7), np.float32)
    x[:, 0, 4, 3], x[:, 1, 4, 3], x[:, 0, 2, 0] = 1, 2, 3
    to_layout = (0, 1, 2, 3) if layout == "NCHW" else (0, 2, 3, 1)
    shift = nn.RandomShift(2, layout)
    moved = shift(x.transpose(to_layout), np.random.default_rng(0))
    assert moved.shape == x.transpose(to_layout).shape
    moved = moved.transpose(np.argsort(to_layout))
    places = np.argwhere(moved[:, 0] == 1)[:, 1:]  # each image still has its pixel
    assert places.shape == (300, 2)
    assert {tuple(place) for place in places} == {(i, j) for i in range(2, 7) for j in range(1, 6)}
    for image, (down, right) in zip(moved, places - [4, 3], strict=True):
        bordered = np.pad(x[0], ((0, 0), (2, 2), (2, 2)))
        np.testing.assert_array_equal(
            image, bordered[:, 2 - down:11 - down, 2 - right:9 - right])


def test_augmentation_changes_the_training_and_is_seeded():
    plain, _ = train(epochs=1)
    first, second = (train(epochs=1, augment=nn.RandomShift(1))[0] for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes() != plain.weights.tobytes()


def test_the_progress_bar_shows_epochs(capsys):
    pytest.importorskip("rich")
    train(epochs=2, progress=True)
    shown = capsys.readouterr().out
    assert "epoch 1/2" in shown and "epoch 2/2" in shown and "accuracy" in shown


def test_without_rich_training_is_silent(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    train(epochs=1, progress=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kwargs", [{}, {"dtype": "float64"}, {"layout": "NHWC"}])
def test_a_saved_model_comes_back(tmp_path, kwargs):
    x, y = bars(40)
    if kwargs.get("layout") == "NHWC":
        x = x.transpose(0, 2, 3, 1)
    model = network(**kwargs)
    model.fit(x, y, progress=False)
    model.metadata = {"classes": ["row", "column"]}
    model.save(tmp_path / "model.safetensors")
    again = nn.load(tmp_path / "model.safetensors")
    assert again.weights.tobytes() == model.weights.tobytes()
    assert again.predict(x).tobytes() == model.predict(x).tobytes()
    assert (again.layout, again.dtype, again.seed) == (model.layout, model.dtype, model.seed)
    assert again.metadata == model.metadata and again.epochs_done == 1
    assert [layer.config() for layer in again.layers] == [layer.config() for layer in model.layers]


def test_every_layer_can_be_saved(tmp_path):
    from test_nn import LAYERS

    for name, (make, shape) in LAYERS.items():
        model = nn.Sequential([make()], input_shape=shape, seed=0)
        model.save(tmp_path / "one")
        again = nn.load(tmp_path / "one")
        x = np.random.default_rng(0).random((2, *shape))
        assert again.predict(x).tobytes() == model.predict(x).tobytes(), name


class Counting(nn.Layer):
    """Knows how many training batches it has seen."""

    def create(self, input_shape):
        self.buffers = {"seen": np.zeros(1, np.int64)}
        return {"scale": np.ones(1)}

    def forward(self, x, training=False):
        self.buffers["seen"] += training
        return x * self.params["scale"]

    def backward(self, dy, need_dx=True):
        self.set_grads(scale=0)
        return dy * self.params["scale"]


def test_buffers_are_saved_with_the_parameters(tmp_path):
    model = nn.Sequential([Counting(name="count"), nn.Flatten(), nn.Dense(2), nn.Softmax()])
    model.fit(*bars(40), batch_size=8, progress=False)
    assert [name for name, _ in model.arrays()][:2] == ["count.scale", "count.seen"]
    model.save(tmp_path / "model")
    assert nn.load(tmp_path / "model").layers[0].buffers["seen"] == [5]


def test_the_file_is_plain_safetensors(tmp_path):
    network(input_shape=(1, 8, 8)).save(tmp_path / "model")
    arrays = safetensors_numpy.load_file(tmp_path / "model")
    assert {name: value.shape for name, value in arrays.items()} == {
        "conv2d_1.weight": (4, 1, 3, 3), "conv2d_1.bias": (4,),
        "dense_1.weight": (2, 36), "dense_1.bias": (2,)}


def test_saving_replaces_the_file_only_by_a_whole_one(tmp_path, monkeypatch):
    path = tmp_path / "model"
    model = network(input_shape=(1, 8, 8))
    model.save(path)
    before = path.read_bytes()
    model.weights += 1

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        model.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


def test_checkpoints_are_saved_each_epoch(tmp_path):
    model, _ = train(epochs=2, callbacks=[nn.Checkpoint(tmp_path / "last")])
    assert nn.load(tmp_path / "last").epochs_done == 2


def _rewrite(path, arrays, description):
    path.write_bytes(safetensors_numpy.save(arrays, metadata={"engine": json.dumps(description)}))


def test_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(FileNotFoundError):
        nn.load(path)
    path.write_bytes(b"something else entirely")
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        nn.load(path)
    safetensors_numpy.save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match="has format None, expected convengine-1"):
        nn.load(path)

    network(input_shape=(1, 8, 8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        nn.load(path)

    path.write_bytes(whole)
    arrays = safetensors_numpy.load_file(path)
    size = int.from_bytes(whole[:8], "little")
    description = json.loads(json.loads(whole[8:8 + size])["__metadata__"]["engine"])
    wrong = {name: value for name, value in arrays.items() if name != "dense_1.bias"}
    wrong |= {"conv2d_1.bias": np.zeros(5, np.float32), "extra": np.zeros(1, np.float32)}
    _rewrite(path, wrong, description)
    with pytest.raises(ValueError, match="missing: dense_1.bias; not known: extra; of another "
                                         r"shape: conv2d_1.bias is \(5,\), expected \(4,\)"):
        nn.load(path)

    description["architecture"]["layers"][0]["layer"] = "Conv9D"
    _rewrite(path, arrays, description)
    with pytest.raises(ValueError, match="unknown layer Conv9D"):
        nn.load(path)
    description["architecture"]["layers"][0] = {"layer": "Conv2D", "filters": 3}
    _rewrite(path, arrays, description)
    with pytest.raises(ValueError, match="does not describe a model: .*filters"):
        nn.load(path)


def test_missing_extras_say_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r'pip install "convengine\[app\]"'):
        network(input_shape=(1, 8, 8)).save(tmp_path / "model")


def test_confusion_matrix():
    matrix = nn.confusion_matrix([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])
