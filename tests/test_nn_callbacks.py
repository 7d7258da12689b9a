"""The callbacks of engine.nn, each by what it does to a training."""

import csv
import struct

import numpy as np
import pytest
from test_nn_training import bars, network, train

from engine import nn


class Script(nn.Callback):
    """Replaces the losses by given ones, and notes the learning rates."""

    def __init__(self, losses):
        self.losses, self.rates = losses, []

    def on_epoch_end(self, model, epoch, logs):
        self.rates.append(model.run.optimizer.learning_rate(model.run.progress))
        logs["loss"] = self.losses[epoch]


def test_every_callback_hears_everything_in_order():
    heard = []

    class Listener(nn.Callback):
        def on_train_begin(self, model):
            heard.append("begin")

        def on_batch_end(self, model, step, logs):
            heard.append(step)

        def on_epoch_end(self, model, epoch, logs):
            heard.append(f"epoch {epoch}")

        def on_train_end(self, model):
            heard.append("end")

    model, _ = train(epochs=2, batch_size=100, callbacks=[Listener()])
    assert heard == ["begin", 0, 1, "epoch 0", 0, 1, "epoch 1", "end"]
    assert model.run is None


def test_early_stopping_and_its_best_weights():
    kept = []

    class Keep(nn.Callback):
        def on_epoch_end(self, model, epoch, logs):
            kept.append(model.weights.copy())

    stopping = nn.EarlyStopping("loss", patience=2, min_delta=0.1, restore_best=True)
    script = Script([1.0, 0.5, 0.45, 0.7, 0.1, 0.0])
    model, _ = train(epochs=6, callbacks=[Keep(), script, stopping])
    assert model.epochs_done == 4  # 0.45 is no better than 0.5 by 0.1, nor is 0.7
    np.testing.assert_array_equal(model.weights, kept[1])
    train(model, epochs=1, callbacks=[stopping])  # another training starts afresh
    assert model.epochs_done == 5 and stopping.waited == 0


def test_more_is_better_of_an_accuracy():
    model, history = train(epochs=9, callbacks=[nn.EarlyStopping("accuracy", patience=2)])
    best = np.maximum.accumulate(history["accuracy"])
    assert all(best[i] > best[i - 2] for i in range(2, len(best) - 1))


def test_reduce_on_plateau():
    script = Script([1.0, 1.0, 1.0, 0.5, 0.6, 0.6, 0.6, 0.6])
    plateau = nn.ReduceOnPlateau("loss", factor=0.1, patience=2, min_lr=0.0005)
    train(epochs=8, optimizer=nn.SGD(0.01), callbacks=[script, plateau])
    np.testing.assert_allclose(script.rates,
                               [0.01, 0.01, 0.01, 0.001, 0.001, 0.001, 0.0005, 0.0005])


def test_terminate_on_nan():
    x, y = bars(64)
    x[40] = np.nan
    model = network()
    with pytest.warns(RuntimeWarning, match="the loss is nan in epoch 1, batch 3: the training"):
        history = model.fit(x, y, batch_size=16, shuffle=False, progress=False,
                            callbacks=[nn.TerminateOnNaN()])
    assert history == {} and model.epochs_done == 0


def test_the_csv_file_holds_the_history(tmp_path):
    _, history = train(epochs=3, validation_data=bars(20, seed=1),
                       callbacks=[nn.CSVLogger(tmp_path / "log.csv")])
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("epoch") for row in rows] == ["1", "2", "3"]
    assert {name: [float(row[name]) for row in rows] for name in rows[0]} == history


def test_only_the_best_is_saved(tmp_path):
    pytest.importorskip("safetensors")
    script = Script([1.0, 0.5, 0.7, 0.6])
    train(epochs=4, callbacks=[nn.Checkpoint(tmp_path / "best", best="loss"), script])
    assert nn.load(tmp_path / "best").epochs_done == 2


def test_tensorboard_files_hold_the_history(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    _, history = train(epochs=3, callbacks=[nn.TensorBoard(tmp_path / "logs")],
                       optimizer=nn.SGD(0.02))
    file, = (tmp_path / "logs").iterdir()
    seen: dict[str, list] = {}
    for event in map(Event.FromString, records(file.read_bytes())):
        for value in event.summary.value:
            seen.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert set(seen) == {"loss", "accuracy", "learning_rate"}
    for name, values in (history | {"learning_rate": [0.02] * 3}).items():
        assert [step for step, _ in seen[name]] == [1, 2, 3]
        np.testing.assert_allclose([value for _, value in seen[name]], values, rtol=1e-6)


def records(data):
    """The records of a TFRecord file: length, its checksum, data, its checksum."""
    start = 0
    while start < len(data):
        length, = struct.unpack_from("<Q", data, start)
        yield data[start + 12:start + 12 + length]
        start += length + 16


MESSAGES = {
    "monitor": (lambda: train(callbacks=[nn.EarlyStopping()]),
                "EarlyStopping: `monitor` is 'val_loss', expected one of 'loss', 'accuracy'"),
    "best": (lambda: train(callbacks=[nn.Checkpoint("never", best="val_accuracy")]),
             "Checkpoint: `best` is 'val_accuracy', expected one of 'loss', 'accuracy'"),
    "both": (lambda: nn.Checkpoint("never", best="loss", every=2),
             "Checkpoint: `every` is 2, expected None with best='loss'"),
    "factor": (lambda: nn.ReduceOnPlateau(factor=1),
               "ReduceOnPlateau: `factor` is 1, expected at least 0 and below 1"),
    "patience": (lambda: nn.EarlyStopping(patience=0),
                 "EarlyStopping: `patience` is 0, expected at least 1"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    call, message = MESSAGES[name]
    with pytest.raises(ValueError) as raised:
        call()
    assert message in str(raised.value)
