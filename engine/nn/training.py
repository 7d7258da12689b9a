"""The training loop: batches, forward, loss, backward, step; and evaluation, the loop without them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from engine.nn import _check, checkpoints, data, devices, losses, parallel
from engine.nn.activations import Sigmoid, Softmax
from engine.nn.augment import Compose
from engine.nn.optimizers import Adam, Optimizer
from engine.nn.progress import progress_bar


class History(dict[str, list[float]]):
    """Name -> one number for each finished epoch: loss, accuracy, val_loss, val_accuracy."""

    def add(self, logs: dict[str, float]) -> None:
        for name, value in logs.items():
            self.setdefault(name, []).append(value)


@dataclass
class Tally:
    """The sums behind a mean loss and accuracy."""

    loss: float = 0.0
    correct: int = 0
    seen: int = 0

    def add(self, loss: float, correct: float, count: float) -> None:
        """Sums over some more samples."""
        self.loss, self.correct = self.loss + float(loss), self.correct + int(correct)
        self.seen += int(count)

    def means(self) -> dict[str, float]:
        return {"loss": self.loss / self.seen, "accuracy": self.correct / self.seen}


@dataclass
class Run:
    """One call of `fit`: what it was asked for, and how far it is."""

    model: object
    optimizer: Optimizer
    callbacks: list
    epochs: int
    steps: int | None  # batches of an epoch, if that is known
    batch_size: int
    group: parallel.Alone = parallel.ALONE
    resumed: bool = False
    history: History = field(default_factory=History)
    epoch: int = 0  # epochs that are over
    step: int = 0  # batches of this epoch that are over
    tally: Tally = field(default_factory=Tally)

    @property
    def progress(self) -> float:
        """The share of the training that is over."""
        if self.steps is None:
            return self.epoch / self.epochs
        return (self.epoch * self.steps + self.step) / (self.epochs * self.steps)

    def is_stopped(self) -> bool:
        """Whether the training is to end, as somebody has asked on any rank."""
        self.model.stop_training = self.group.any(self.model.stop_training)
        return self.model.stop_training

    def save(self, path) -> None:
        """Write the model and this state, so that the training can go on from here."""
        if self.group.rank == 0:
            checkpoints.save(self, path)

    def tell(self, what: str, *args) -> None:
        for callback in self.callbacks:
            if self.group.rank == 0 or not callback.writes:
                getattr(callback, what)(self.model, *args)


def fit(model, x, y, *, epochs, batch_size, validation_data, validation_split, loss, optimizer,
        augment, callbacks, shuffle, progress, workers, steps_per_epoch, resume, group) -> History:
    """See `Model.fit`."""
    epochs = _check.integer("fit", "epochs", epochs, minimum=0)
    workers = _check.integer("fit", "workers", workers, minimum=0)
    batch_size = _check.integer("fit", "batch_size", batch_size)
    if validation_split and validation_data is None:
        x, y, validation_data = data.split("fit", x, y, validation_split)
    augment = Compose(augment) if isinstance(augment, (list, tuple)) else augment
    batches, chosen, stop = _source("fit", model, x, y, loss, batch_size, shuffle,
                                    steps_per_epoch, augmented=augment is not None)
    if validation_data is not None:
        validation_data = _as_pair(validation_data)
        _source("fit: validation_data", model, *validation_data, loss, batch_size)
    run = Run(model, optimizer or Adam(), sorted(callbacks, key=lambda each: each.comes_last),
              epochs, batches.steps, batch_size, group)
    run.optimizer.attach(model.trained_weights)
    if resume is not None and group.rank == 0:
        checkpoints.resume(run, resume)
    if group.size > 1:
        checkpoints.share(run)

    def prepare(numbered):
        step, job = numbered
        images, target, count = batches.load(job, group.rows)
        if augment and len(images):  # +1: a seed that ends in 0 is the seed without it
            seed = [model.seed, model.epochs_done, step + 1]
            images = augment(images, group.generator(seed, count))
        if not len(images):  # there are more ranks than samples
            images = np.empty((0, *model.input_shape))
        return _as_input("fit", model, images), target, count

    model.run = run
    try:
        run.tell("on_train_begin")
        with (parallel.joined(model, group),
              progress_bar(progress and group.rank == 0, epochs, batches.steps, run.epoch,
                           run.step) as bar):
            while run.epoch < epochs and _epoch(run, batches, prepare, workers, chosen, stop, bar):
                logs = run.tally.means()
                if validation_data is not None:
                    scores = evaluate(model, *validation_data, loss=loss, group=group)
                    logs |= {"val_" + name: score for name, score in scores.items()}
                run.history.add(logs)
                bar.end_epoch(logs)
                model.epochs_done += 1
                run.epoch, run.step, run.tally = run.epoch + 1, 0, Tally()
                run.tell("on_epoch_end", run.epoch - 1, logs)
        if model.stop_training:
            run.tell("on_stop")
    finally:
        run.tell("on_train_end")
        model.run = None
        model.stop_training = False  # it has been obeyed
    return run.history


def _epoch(run: Run, batches, prepare, workers, loss, stop, bar) -> bool:
    """Train on the batches that are left of an epoch; False if that was stopped."""
    model = run.model
    jobs = batches.jobs(np.random.default_rng([model.seed, model.epochs_done]))
    jobs = islice(enumerate(jobs), run.step, None)
    for x, target, count in data.ahead(prepare, jobs, workers):
        if run.is_stopped():
            break
        run.group.begin(count)
        sums = train_on(model, x, target, loss, stop)
        run.optimizer.step(model.trained_weights, model.trained_gradients, run.progress)
        run.step += 1
        run.tally.add(*sums)
        bar.advance(**run.tally.means())
        run.tell("on_batch_end", run.step - 1, run.tally.means())
    stopped = run.is_stopped()
    if run.tally.seen == 0 and not stopped:
        raise ValueError(f"fit: `x` gave no batches in epoch {run.epoch + 1}, expected some "
                         "(a generator gives its batches once: name steps_per_epoch, or pass "
                         "an object that can be iterated again)")
    return not stopped


def train_on(model, x, target, loss, stop) -> np.ndarray:
    """One batch forward and backward; the gradients are left in the model.

    Returns the sums that a tally takes.  If several ranks share the batch, they and the gradients
    are those of the whole batch.
    """
    group = model.group
    y = model.forward(devices.to_device(x, model.device), training=True, stop=stop)
    sums = _sums(loss, devices.to_host(y), target)
    sums[0] += len(y) * sum(layer.extra_loss(loss, target) for layer in model.walk())
    group.start(sums)
    model.backward(group.scaled(loss.gradient(y, target)), need_dx=False, stop=stop)
    group.finish()
    return sums


def _sums(loss, y, target) -> np.ndarray:
    """Over these samples: the loss, how many are right, how many there are."""
    if len(y) == 0:
        return np.zeros(3)
    return np.array([loss.value(y, target) * len(y), loss.correct(y, target), len(y)])


def evaluate(model, x, y=None, batch_size=256, loss=None, group=parallel.ALONE):
    """See `Model.evaluate`."""
    batch_size = _check.integer("evaluate", "batch_size", batch_size)
    batches, loss, stop = _source("evaluate", model, x, y, loss, batch_size)
    sums = np.zeros(3)
    for job in batches.jobs(np.random.default_rng(0)):
        images, target, _ = batches.load(job, group.rows)
        sums += _sums(loss, _outputs("evaluate", model, images, stop), target)
    tally = Tally()
    tally.add(*group.sum(sums))
    if tally.seen == 0:
        raise ValueError("evaluate: `x` gave no batches, expected some")
    return tally.means()


def predict(model, x, batch_size=256, logits=False) -> np.ndarray:
    """See `Model.predict` and `Model.logits`."""
    stop = -1 if logits and isinstance(model.children[-1], (Softmax, Sigmoid)) else None
    batch_size = _check.integer("predict", "batch_size", batch_size)
    if not isinstance(x, data.ImageFolder):
        x = _check.samples("predict", "x", x, model.input_shape)
    out = np.empty((len(x), *model.output_shape), model.dtype)
    for start in range(0, len(x), batch_size):
        batch = slice(start, start + batch_size)
        out[batch] = _outputs("predict", model, x[batch], stop)
    return out


def _outputs(who: str, model, images, stop) -> np.ndarray:
    """Of one batch, on the host."""
    x = devices.to_device(_as_input(who, model, images), model.device)
    return devices.to_host(model.forward(x, stop=stop))


def _source(who, model, x, y, loss, batch_size, shuffle=False, steps=None, augmented=False):
    """The user's data and loss, checked; `stop` is -1 if the loss takes over the last layer."""
    loss, takes_over = losses.choose(who, loss, model.children[-1])
    stop = -1 if takes_over else None

    def check(x, y):
        if not isinstance(x, data.ImageFolder):
            shape = np.shape(x)[1:] if augmented else model.input_shape
            x = _check.samples(who, "x", x, shape)
        target = loss.targets(who, y, model.output_shape, model.dtype)
        _check.same_length(who, x, target)
        return x, target

    if isinstance(x, data.ImageFolder) and y is None:
        y = x.labels
    if data.is_stream(x):
        if y is not None:
            raise TypeError(f"{who}: `y` is given, expected None (x gives batches of both)")
        steps = None if steps is None else _check.integer(who, "steps_per_epoch", steps)
        return data.Stream(who, x, check, steps), loss, stop
    if y is None:
        raise TypeError(f"{who}: `y` is None, expected the targets of x")
    if steps is not None:
        raise ValueError(f"{who}: `steps_per_epoch` is {steps}, expected None "
                         "(x is samples, of which an epoch sees all)")
    return data.Indexed(*check(x, y), batch_size, shuffle), loss, stop


def _as_pair(validation_data):
    """(x, y), where y is None for an ImageFolder or an iterable of batches."""
    return validation_data if isinstance(validation_data, tuple) else (validation_data, None)


def _as_input(who: str, model, x) -> np.ndarray:
    """A batch as `forward` takes it: read, augmented and transformed, it must have its shape."""
    if x.shape[1:] != model.input_shape:
        raise ValueError(f"{who}: a batch has shape {x.shape}, expected "
                         f"({', '.join(['N', *map(str, model.input_shape)])})")
    return np.ascontiguousarray(x, model.dtype)
