"""The training loop: batches, forward, loss, backward, step; and what watches it."""

from __future__ import annotations

import numpy as np

from engine.nn import _check, losses
from engine.nn.activations import Sigmoid, Softmax
from engine.nn.optimizers import Adam
from engine.nn.progress import progress_bar


class History(dict):
    """Name -> one number for each finished epoch: loss, accuracy, val_loss, val_accuracy."""

    def add(self, logs: dict[str, float]) -> None:
        for name, value in logs.items():
            self.setdefault(name, []).append(value)


class Callback:
    """Is told about each finished epoch; ``model.stop_training = True`` ends the training."""

    def on_epoch_end(self, model, epoch: int, logs: dict[str, float]) -> None:
        pass


class Checkpoint(Callback):
    """Saves the model after every epoch."""

    def __init__(self, path):
        self.path = path

    def on_epoch_end(self, model, epoch, logs):
        model.save(self.path)


def fit(model, x, y, epochs, batch_size, validation_data, loss, optimizer, augment, callbacks,
        shuffle, progress) -> History:
    """See `Model.fit`."""
    epochs = _check.integer("fit", "epochs", epochs, minimum=0)
    batch_size = _check.integer("fit", "batch_size", batch_size)
    x, target, loss, stop = _data("fit", model, x, y, loss)
    if validation_data is not None:
        _data("fit: validation_data", model, *validation_data, None)
    optimizer = optimizer or Adam()
    steps = -(-len(x) // batch_size)
    history = History()
    with progress_bar(progress, epochs, steps) as bar:
        for epoch in range(epochs):
            total = correct = 0.0
            rng = np.random.default_rng([model.seed, model.epochs_done])
            order = rng.permutation(len(x)) if shuffle else np.arange(len(x))
            for step in range(steps):
                if model.stop_training:
                    break
                batch = order[step * batch_size:(step + 1) * batch_size]
                images = augment(x[batch], rng) if augment else x[batch]
                value, hits = _train_on(model, images, target[batch], loss, stop)
                optimizer.step(model.weights, model.gradients,
                               (epoch * steps + step) / (epochs * steps))
                total, correct = total + value * len(batch), correct + hits
                seen = min(len(x), (step + 1) * batch_size)
                bar.advance(loss=total / seen, accuracy=correct / seen)
            if model.stop_training:
                break
            model.epochs_done += 1
            logs = {"loss": total / len(x), "accuracy": correct / len(x)}
            if validation_data is not None:
                scores = evaluate(model, *validation_data, batch_size=256)
                logs |= {"val_" + name: score for name, score in scores.items()}
            history.add(logs)
            bar.end_epoch(logs)
            for callback in callbacks:
                callback.on_epoch_end(model, epoch, logs)
    model.stop_training = False  # it has been obeyed
    return history


def _train_on(model, x, target, loss, stop) -> tuple[float, int]:
    """One batch forward and backward; the gradients are left in the model."""
    y = model.forward(np.ascontiguousarray(x, model.dtype), training=True, stop=stop)
    model.backward(loss.gradient(y, target), need_dx=False, stop=stop)
    return loss.value(y, target), loss.correct(y, target)


def evaluate(model, x, y, batch_size=256, loss=None) -> dict[str, float]:
    """See `Model.evaluate`."""
    batch_size = _check.integer("evaluate", "batch_size", batch_size)
    x, target, loss, stop = _data("evaluate", model, x, y, loss)
    total = correct = 0.0
    for start in range(0, len(x), batch_size):
        batch = slice(start, start + batch_size)
        y = model.forward(np.ascontiguousarray(x[batch], model.dtype), stop=stop)
        total += loss.value(y, target[batch]) * len(y)
        correct += loss.correct(y, target[batch])
    return {"loss": total / len(x), "accuracy": correct / len(x)}


def predict(model, x, batch_size=256, logits=False) -> np.ndarray:
    """See `Model.predict` and `Model.logits`."""
    stop = -1 if logits and isinstance(model.children[-1], (Softmax, Sigmoid)) else None
    batch_size = _check.integer("predict", "batch_size", batch_size)
    x = _check.samples("predict", "x", x, model.input_shape)
    out = np.empty((len(x), *model.output_shape), model.dtype)
    for start in range(0, len(x), batch_size):
        batch = slice(start, start + batch_size)
        out[batch] = model.forward(np.ascontiguousarray(x[batch], model.dtype), stop=stop)
    return out


def _data(who, model, x, y, loss):
    """The user's data and loss, checked; `stop` is -1 if the loss takes over the last layer."""
    x = _check.samples(who, "x", x, model.input_shape)
    loss, takes_over = losses.choose(who, loss, model.children[-1])
    target = loss.targets(who, y, model.output_shape, model.dtype)
    _check.same_length(who, x, target)
    return x, target, loss, -1 if takes_over else None

