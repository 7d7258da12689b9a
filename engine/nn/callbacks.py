"""Callbacks: what watches a training, and may save, slow down or end it.

A callback of your own derives from `Callback` and has any of its methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.nn._typing import Path

if TYPE_CHECKING:
    from engine.nn.model import Model

import csv
import io
import math
import warnings

import numpy as np

from engine.nn import _check, saving
from engine.nn._extras import need


class Callback:
    """Is told about each batch and epoch; ``model.stop_training = True`` ends the training.

    While `fit` runs, ``model.run`` is its `engine.nn.training.Run`: the optimizer, the epoch, the
    history and the rest of what is not in the model itself.
    """

    remembered: tuple[str, ...] = ()  # attributes that a checkpoint keeps
    comes_last = False  # whether it is told after all others
    writes = False  # whether it leaves files: of several ranks only the first one's is told

    def on_train_begin(self, model: Model) -> None:
        pass

    def on_batch_end(self, model: Model, step: int, logs: dict[str, float]) -> None:
        """After batch `step` of the epoch, counted from 0; `logs` are the means so far."""

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        """After the epoch, counted from 0, and its validation."""

    def on_stop(self, model: Model) -> None:
        """When `stop_training` has ended the training."""

    def on_train_end(self, model: Model) -> None:
        """Also when the training ends with an exception."""


class Checkpoint(Callback):
    """Saves the model and the state of the training, to go on from there bit for bit.

    ``nn.load(path)`` gives the model; ``fit(..., resume=path)`` with the same data and arguments
    goes on with the training, and ends as if it had never been interrupted.  Whenever the process
    is killed, the file is whole: the new one takes its place only when it is complete.

    Parameters
    ----------
    path : path-like
    every : int, optional
        Save after every so many batches too, not only at the end of each epoch.
    best : str, optional
        Save only when this value of the history is the best so far, e.g. "val_accuracy".
    when_stopped : bool
        Save also when `Model.stop_training` has ended the training, be it within an epoch.
    """

    remembered = ("best_value",)
    comes_last = True  # it has to save what the others have done
    writes = True

    def __init__(self, path: Path, *, every: int | None = None, best: str | None = None,
                 when_stopped: bool = False):
        self.path, self.when_stopped = path, bool(when_stopped)
        self.every = None if every is None else _check.integer("Checkpoint", "every", every)
        if every is not None and best is not None:
            raise ValueError(f"Checkpoint: `every` is {every}, expected None with best={best!r}")
        self.best, self.best_value = best, None

    def on_batch_end(self, model, step, logs):
        if self.every is not None and (step + 1) % self.every == 0:
            model.run.save(self.path)

    def on_epoch_end(self, model, epoch, logs):
        if self.best is not None:
            value = monitored("Checkpoint", "best", self.best, logs)
            if not better(self.best, value, self.best_value):
                return
            self.best_value = value
        model.run.save(self.path)

    def on_stop(self, model):
        if self.when_stopped:
            model.run.save(self.path)


class EarlyStopping(Callback):
    """Ends the training when a value has not become better for `patience` epochs.

    Parameters
    ----------
    monitor : str
        A name of the history.  Of an accuracy more is better, of anything else less.
    patience : int
    min_delta : float
        A smaller change for the better does not count.
    restore_best : bool
        Whether the model gets the weights of its best epoch back.
    """

    remembered = ("best", "waited", "arrays")

    def __init__(self, monitor: str = "val_loss", *, patience: int = 5, min_delta: float = 0.0,
                 restore_best: bool = False):
        self.monitor = monitor
        self.patience = _check.integer("EarlyStopping", "patience", patience)
        self.min_delta = _check.number("EarlyStopping", "min_delta", min_delta, 0)
        self.restore_best = bool(restore_best)
        self.best, self.waited, self.arrays = None, 0, None

    def on_train_begin(self, model):
        if not model.run.resumed:
            self.best, self.waited, self.arrays = None, 0, None
        elif self.waited >= self.patience:  # it was over when it was interrupted
            model.stop_training = True

    def on_epoch_end(self, model, epoch, logs):
        value = monitored("EarlyStopping", "monitor", self.monitor, logs)
        self.waited += 1
        if better(self.monitor, value, self.best, self.min_delta):
            self.best, self.waited = value, 0
            if self.restore_best:
                self.arrays = {name: array.copy() for name, array in model.arrays()}
        elif self.waited >= self.patience:
            model.stop_training = True

    def on_train_end(self, model):
        if self.arrays is not None:
            for name, array in model.arrays():
                array[...] = self.arrays[name]


class ReduceOnPlateau(Callback):
    """Multiplies the learning rate by `factor` when a value has not become better for `patience`
    epochs, but takes it no lower than `min_lr`; `monitor` and `min_delta` as in `EarlyStopping`.
    """

    remembered = ("best", "waited")

    def __init__(self, monitor: str = "val_loss", *, factor: float = 0.1, patience: int = 3,
                 min_delta: float = 0.0, min_lr: float = 0.0):
        self.monitor = monitor
        self.factor = _check.number("ReduceOnPlateau", "factor", factor, 0, 1)
        self.patience = _check.integer("ReduceOnPlateau", "patience", patience)
        self.min_delta = _check.number("ReduceOnPlateau", "min_delta", min_delta, 0)
        self.min_lr = _check.number("ReduceOnPlateau", "min_lr", min_lr, 0)
        self.best, self.waited = None, 0

    def on_train_begin(self, model):
        if not model.run.resumed:
            self.best, self.waited = None, 0

    def on_epoch_end(self, model, epoch, logs):
        value = monitored("ReduceOnPlateau", "monitor", self.monitor, logs)
        self.waited += 1
        if better(self.monitor, value, self.best, self.min_delta):
            self.best, self.waited = value, 0
        elif self.waited >= self.patience:
            self.waited = 0
            optimizer = model.run.optimizer
            lr = optimizer.learning_rate(model.run.progress)
            if lr > self.min_lr:
                optimizer.lr_factor *= max(lr * self.factor, self.min_lr) / lr


class TerminateOnNaN(Callback):
    """Ends the training, with a warning, when the loss is not a finite number."""

    def on_batch_end(self, model, step, logs):
        if not math.isfinite(logs["loss"]):
            if model.run.group.rank == 0:
                warnings.warn(f"fit: the loss is {logs['loss']} in epoch {model.run.epoch + 1}, "
                              f"batch {step + 1}: the training ends", RuntimeWarning, stacklevel=4)
            model.stop_training = True


class CSVLogger(Callback):
    """Writes one row for each finished epoch: its number from 1, and all values of the history."""

    remembered = ("rows",)
    writes = True

    def __init__(self, path: Path):
        self.path = path
        self.rows: list[dict] = []

    def on_train_begin(self, model):
        if not model.run.resumed:
            self.rows = []

    def on_epoch_end(self, model, epoch, logs):
        self.rows.append({"epoch": epoch + 1} | logs)
        text = io.StringIO()
        writer = csv.DictWriter(text, self.rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        saving.write_whole(self.path, text.getvalue().encode())  # so that no row is there twice


class TensorBoard(Callback):
    """Writes the values of each epoch, and the learning rate, for ``tensorboard --logdir folder``.

    Needs ``pip install "convengine[tensorboard]"``.
    """

    writes = True

    def __init__(self, folder: Path):
        self.folder = folder
        self.kind = need("tensorboardX", "the TensorBoard callback", "tensorboard").SummaryWriter

    def on_train_begin(self, model):
        # a resumed training hides what the killed one wrote after the checkpoint
        self.writer = self.kind(str(self.folder), purge_step=model.run.epoch + 1)

    def on_epoch_end(self, model, epoch, logs):
        rate = model.run.optimizer.learning_rate(model.run.progress)
        for name, value in (logs | {"learning_rate": rate}).items():
            self.writer.add_scalar(name, value, epoch + 1)
        self.writer.flush()

    def on_train_end(self, model):
        self.writer.close()


def monitored(who: str, argument: str, name: str, logs: dict[str, float]) -> float:
    """The value of that name."""
    if name not in logs:
        raise ValueError(f"{who}: `{argument}` is {name!r}, expected one of "
                         f"{', '.join(map(repr, logs))}")
    return logs[name]


def better(name: str, value: float, best: float | None, min_delta: float = 0.0) -> bool:
    """Whether `value` is better than the best so far: of an accuracy more is, of a loss less."""
    if best is None or np.isnan(best):
        return not np.isnan(value)
    return value > best + min_delta if name.endswith("accuracy") else value < best - min_delta
