"""A training that is killed and resumed ends as if nothing had happened; no save harms a file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_nn_training import Counting, bars

import engine
from engine import nn

pytest.importorskip("safetensors.numpy")
EPOCHS, BATCHES = 4, 7  # 100 samples, 16 at a time


class KillAt(nn.Callback):
    """Ends the process at once, without a word, as if the machine had gone."""

    def __init__(self, epoch, step):
        self.place = epoch, step

    def on_batch_end(self, model, step, logs):
        if (model.run.epoch, step) == self.place:
            os.kill(os.getpid(), signal.SIGKILL)


def training(path, *callbacks, every=3, resume=True, workers=2):
    """All that has a state: dropout, buffers, momentum, schedule, augmentation, callbacks."""
    model = nn.Sequential([
        nn.Conv2D(4, 3, activation="relu"), Counting(name="count"), nn.MaxPool2D(2),
        nn.Sequential([nn.Dropout(0.3, name="drop"), nn.Flatten()], name="inner"),
        nn.Dense(2), nn.Softmax(),
    ], input_shape=(1, 8, 8), seed=None if resume else 11)
    watchers = [*callbacks, nn.ReduceOnPlateau("loss", factor=0.5, patience=1, min_delta=0.1),
                nn.EarlyStopping("val_loss", patience=9, restore_best=True),
                nn.CSVLogger(Path(path).with_suffix(".csv")), nn.Checkpoint(path, every=every)]
    history = model.fit(
        *bars(100), epochs=EPOCHS, batch_size=16, validation_data=bars(40, seed=1),
        optimizer=nn.Adam(nn.Warmup(nn.Cosine(0.01)), clip_norm=1.0), progress=False,
        augment=[nn.RandomShift(1), nn.RandomFlip()], workers=workers, callbacks=watchers,
        resume=path if resume else None)
    return model, history


def elsewhere(code, tmp_path):
    """Run code in another Python; returns its exit code."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(
        [os.path.dirname(__file__), os.path.dirname(os.path.dirname(engine.__file__))])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path,
                          capture_output=True, text=True)
    return done.returncode, done.stderr


def state_of(model):
    return {name: value.tobytes() for name, value in model.arrays()}


def test_a_killed_training_resumes_bit_for_bit(tmp_path):
    whole, history = training(tmp_path / "whole", resume=False)
    code = ("import test_nn_resume as t\n"
            "t.training('killed', t.KillAt({epoch}, {step}), resume={resume})")
    # in the first epoch, after the checkpoints of batches 3 and 6, and at the last batch of another
    for count, place in enumerate([(0, 4), (1, 6), (3, 0)]):
        call = code.format(epoch=place[0], step=place[1], resume=count > 0)
        assert elsewhere(call, tmp_path) == (-signal.SIGKILL, ""), place
        seen = nn.load(tmp_path / "killed")  # a whole file
        assert seen.epochs_done == place[0]
    again, history_again = training(tmp_path / "killed", KillAt(9, 9), workers=0)
    assert state_of(again) == state_of(whole)
    assert again.layers[1].buffers["seen"] == [EPOCHS * BATCHES]
    assert history_again == history and len(history["val_loss"]) == EPOCHS
    assert again.epochs_done == EPOCHS and again.seed == whole.seed
    rows = (tmp_path / "killed.csv").read_text()
    assert rows == (tmp_path / "whole.csv").read_text() and len(rows.splitlines()) == EPOCHS + 1
    assert sorted(os.listdir(tmp_path)) == ["killed", "killed.csv", "whole", "whole.csv"]


def test_a_finished_training_is_not_trained_again(tmp_path):
    model, history = training(tmp_path / "run", resume=False)
    again, same = training(tmp_path / "run")
    assert same == history and state_of(again) == state_of(model)


def test_the_state_that_a_checkpoint_keeps_is_needed(tmp_path):
    """Weights alone are not enough: without the rest the end is another."""
    whole, _ = training(tmp_path / "whole", resume=False)
    with pytest.raises(KeyboardInterrupt):
        training(tmp_path / "stopped", InterruptAt(1, 3), resume=False)
    model = nn.load(tmp_path / "stopped")
    model.fit(*bars(100), epochs=EPOCHS - 1, batch_size=16, optimizer=nn.Adam(0.01),
              progress=False)
    assert state_of(model) != state_of(whole)
    again, _ = training(tmp_path / "stopped")
    assert state_of(again) == state_of(whole)


class InterruptAt(KillAt):
    def on_batch_end(self, model, step, logs):
        if (model.run.epoch, step) == self.place:
            raise KeyboardInterrupt


def test_a_save_killed_halfway_leaves_the_previous_file(tmp_path):
    path = tmp_path / "model"
    model = nn.Sequential([nn.Dense(4)], input_shape=(3,), seed=0)
    model.save(path)
    before = path.read_bytes()
    code = ("import os, signal\n"
            "from engine import nn\n"
            "os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)\n"
            "model = nn.load('model')\n"
            "model.weights += 1\n"
            "model.save('model')")
    assert elsewhere(code, tmp_path) == (-signal.SIGKILL, "")
    assert path.read_bytes() == before
    assert len(os.listdir(tmp_path)) == 2  # the part of the killed one is beside it ...
    x = np.zeros((4, 3))
    model = nn.Sequential([nn.Dense(4), nn.Softmax()], input_shape=(3,), seed=0)
    model.fit(x, [0] * 4, progress=False, callbacks=[nn.Checkpoint(path)])
    model.fit(x, [0] * 4, progress=False, epochs=2, resume=path)
    assert os.listdir(tmp_path) == ["model"]  # ... until a training is resumed


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_leaves_the_previous_file(tmp_path):
    """The system itself refuses to write: the part beside the file is a device that is full."""
    path, part = tmp_path / "run", tmp_path / f".run.{os.getpid()}.part"
    model, _ = training(path, resume=False)
    before = path.read_bytes()
    model.weights += 1
    for save in lambda: model.save(path), lambda: training(path, resume=False):
        part.symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left on device"):
            save()
        assert path.read_bytes() == before
        assert sorted(os.listdir(tmp_path)) == ["run", "run.csv"]
    again, _ = training(path)
    assert nn.load(path).weights.tobytes() == again.weights.tobytes()


def test_what_cannot_be_resumed_is_refused(tmp_path):
    path = tmp_path / "run"
    training(path, resume=False)

    def fit(model=None, **options):
        model = model or nn.load(path)
        model.fit(*bars(100), **{"batch_size": 16, "progress": False, "resume": path,
                                 "optimizer": nn.Adam()} | options)

    for options, message in [
        ({"batch_size": 8}, "fit: `steps` is 13, expected 7 as in"),
        ({"batch_size": 15}, "fit: `batch_size` is 15, expected 16 as in"),
        ({"optimizer": nn.SGD()}, "fit: `optimizer` is SGD, expected Adam as in"),
        ({"model": nn.Sequential([nn.Flatten(), nn.Dense(2), nn.Softmax()])},
         "dense_1.weight is (2, 36), expected (2, 64)"),
    ]:
        with pytest.raises(ValueError) as raised:
            fit(**options)
        assert message in str(raised.value)
    nn.load(path).save(path)
    with pytest.raises(ValueError, match="a model without its training, expected a file that"):
        fit(resume=path)
