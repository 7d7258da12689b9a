"""What can be done with a whole network: train it, evaluate it, use it, look at it, save it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from engine._typing import Array, ArrayLike
from engine.nn import (
    _check,
    data,
    devices,
    initializers,
    losses,
    saving,
    summary,
    training,
    transfer,
    weights,
)
from engine.nn._typing import Augmentation, Path, Samples, Shape
from engine.nn.callbacks import Callback
from engine.nn.layer import Context, Layer
from engine.nn.optimizers import Optimizer
from engine.nn.parallel import ALONE, Alone


class Model(Layer):
    """A layer that stands on its own: it has data, weights in one vector, and a file format.

    Attributes
    ----------
    weights, gradients : ndarray
        All parameters of all layers in one vector, of which each layer's `params` are views; and
        likewise the gradients.
    device : str
        Where the model computes: "cpu", or "cuda:0" after ``model.to("cuda")``.
    metadata : dict
        Anything that JSON can hold; it is saved with the model, e.g. the names of the classes.
    stop_training : bool
        Set it, from a callback or a signal handler, and `fit` ends after the current batch.
    run : engine.nn.training.Run or None
        How far `fit` is, while it runs.
    frozen_until : str or None
        The last layer that is frozen.
    trained_weights, trained_gradients : ndarray
        The ends of those vectors that belong to layers that are not.
    """

    weights: np.ndarray | None = None
    gradients: np.ndarray | None = None
    device = devices.HOST
    run = None
    first_trained = 0
    frozen = 0  # how many of the layers in it are
    frozen_until: str | None = None

    def __init__(self, input_shape, layout, dtype, seed, name):
        super().__init__(name)
        self.layout = _check.option(self.title, "layout", layout, ("NCHW", "NHWC"))
        self.dtype = _check.option(self.title, "dtype", np.dtype(dtype).name,
                                   ("float32", "float64"))
        self.seed = np.random.SeedSequence().entropy if seed is None else (
            _check.integer(self.title, "seed", seed, minimum=0))
        self.epochs_done = 0
        self.stop_training = False
        self.metadata: dict = {}
        self.input_shape = input_shape
        if input_shape is not None:
            self.prepare(input_shape)

    def prepare(self, input_shape: Shape) -> None:
        """Build all layers, with new weights, for samples of that shape."""
        shape = tuple(_check.integer(self.title, "input_shape", size) for size in input_shape)
        self.build(shape, Context(np.dtype(self.dtype), self.layout,
                                  np.random.default_rng(self.seed)))
        self._gather(initializers.drawing.get())
        self.freeze(self.frozen_until)

    def _gather(self, copy: bool = True) -> None:
        """Move the parameters of all layers into one vector, and leave views in their place."""
        names = [name for name, _ in self.arrays()]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{self.title}: two arrays are called {twice!r}, expected layers with "
                             "names of their own")
        owners = [(layer, name) for layer in self.walk() for name in layer.params]
        self.weights = np.zeros(sum(layer.params[name].size for layer, name in owners), self.dtype)
        if copy and owners:
            np.concatenate([devices.to_host(layer.params[name]).ravel() for layer, name in owners],
                           out=self.weights, casting="unsafe")
        self.gradients = np.zeros_like(self.weights)
        self._place()

    def _place(self) -> None:
        """Move all arrays to the device, and make the parameters of layers views of the vectors."""
        self.weights, self.gradients = (devices.to_device(each, self.device)
                                        for each in (self.weights, self.gradients))
        start = 0
        for layer in self.walk():
            for name, value in layer.params.items():
                part = slice(start, start + value.size)
                layer.params[name] = self.weights[part].reshape(value.shape)
                layer.grads[name] = self.gradients[part].reshape(value.shape)
                start = part.stop
            layer.buffers = {name: devices.to_device(value, self.device)
                             for name, value in layer.buffers.items()}
        self._split()

    def to(self, device: str) -> Model:
        """Move the model to a device, with all it has learned; returns the model.

        There it is trained and used with the same calls: samples and results are arrays of the
        host, all between them stays on the device.

        Parameters
        ----------
        device : str
            "cpu", "cuda", or "cuda:1" for the second GPU.

        Raises
        ------
        ValueError, RuntimeError
            If there is no such device; the message says what was looked for.
        """
        self._need_weights("to")
        self.device = devices.check("to", device)
        for layer in self.walk():
            layer.buffers = {name: devices.to_host(value) for name, value in layer.buffers.items()}
        self.weights, self.gradients = map(devices.to_host, (self.weights, self.gradients))
        self._place()
        return self

    def _split(self) -> None:
        """Find what of the vectors is trained: all that comes after the frozen layers."""
        frozen = sum(value.size for layer in transfer.frozen_layers(self)
                     for value in layer.params.values())
        self.trained_weights = self.weights[frozen:]
        self.trained_gradients = self.gradients[frozen:]

    def __setstate__(self, state) -> None:
        """A copy or an unpickled model: its parameters are to be views of its own vector again."""
        self.__dict__.update(state)
        if self.weights is not None:
            self._gather()

    def fit(self, x: Samples, y: ArrayLike | None = None, *, epochs: int = 1, batch_size: int = 32,
            validation_data: tuple[Samples, ArrayLike] | Samples | None = None,
            validation_split: float = 0.0, loss: losses.Loss | None = None,
            optimizer: Optimizer | None = None,
            augment: Augmentation | Sequence[Augmentation] | None = None,
            callbacks: Iterable[Callback] = (), shuffle: bool = True, progress: bool = True,
            workers: int = 0, steps_per_epoch: int | None = None, resume: Path | None = None,
            parallel: Alone | None = None) -> training.History:
        """Train on samples `x` with targets `y`; returns the `History` of losses and accuracies.

        Parameters
        ----------
        x : array_like, ImageFolder or iterable
            Samples (N, *input_shape), or something that gives batches (x, y) one after another
            each time it is iterated.
        y : array_like, optional
            Class numbers (N,) or one-hot rows (N, K); for a Sigmoid output 0 or 1, (N,) or (N, K).
            An ImageFolder and an iterable bring their own.
        epochs, batch_size : int
        validation_data : pair (x, y), ImageFolder or iterable, optional
            Evaluated after every epoch, never trained on.
        validation_split : float
            Without `validation_data`: this share of arrays x and y, the last samples in them, is
            taken for it, before anything is shuffled.
        loss : optional
            Default: the one that belongs to the last layer, Softmax or Sigmoid.
        optimizer : Optimizer, optional
            Default: Adam().
        augment : callable or sequence of callable, optional
            Changes each batch before it is trained on: ``augment(x, rng)``, e.g. RandomShift(1).
        callbacks : sequence of Callback
        shuffle : bool
            Whether each epoch sees the samples in a new order.
        progress : bool
            Whether to show a progress bar, if the package `rich` is there.
        workers : int
            How many threads read and augment the next batches meanwhile; the result is the same.
        steps_per_epoch : int, optional
            For an iterable that does not end, or only once: how many batches an epoch takes.
        resume : path-like, optional
            A file that `Checkpoint` writes: if it exists, the training goes on from there.
        parallel : engine.interop.mpi.ProcessGroup, optional
            The ranks that call this together, with the same arguments, and share each batch.  All
            start with the weights and the state of rank 0, which alone shows progress and writes.

        Raises
        ------
        TypeError, ValueError
            For data that do not fit the model or one another, with what was expected.
        """
        if self.weights is None:
            if data.is_stream(x):
                raise ValueError("fit: the model has no `input_shape` yet, expected one "
                                 "(x gives batches)")
            self.prepare(x.shape[1:] if isinstance(x, data.ImageFolder) else np.shape(x)[1:])
        return training.fit(
            self, x, y, epochs=epochs, batch_size=batch_size, validation_data=validation_data,
            validation_split=validation_split, loss=loss, optimizer=optimizer, augment=augment,
            callbacks=callbacks, shuffle=shuffle, progress=progress, workers=workers,
            steps_per_epoch=steps_per_epoch, resume=resume, group=parallel or ALONE)

    def freeze(self, until: str | None = None) -> None:
        """Train only the layers after the one named `until`; None trains all of them.

        The name is that of a layer in the model, or of one in a row inside it, with a dot between:
        "features.9".  Frozen layers also predict while others are trained: their dropout is idle,
        and their batch normalisation keeps its running means.

        Raises
        ------
        ValueError
            If there is no such layer; the message lists those there are.
        """
        self._need_weights("freeze")
        transfer.freeze(self, until)
        self.frozen_until = until
        self._split()

    def replace_head(self, classes: int) -> Layer:
        """Give the last layer with weights new ones, for so many classes; returns that layer.

        It loses its activation, if it has one; all other weights stay as they are.  Auxiliary heads
        are given new ones likewise.
        """
        self._need_weights("replace_head")
        return transfer.replace_head(self, classes)

    def evaluate(self, x: Samples, y: ArrayLike | None = None, *, batch_size: int = 256,
                 loss: losses.Loss | None = None) -> dict[str, float]:
        """The mean loss and the accuracy over samples, as a dict; x and y as in `fit`."""
        self._need_weights("evaluate")
        return training.evaluate(self, x, y, batch_size, loss)

    def predict(self, x: Samples, *, batch_size: int = 256) -> Array:
        """The outputs for samples, (N, *output_shape)."""
        self._need_weights("predict")
        return training.predict(self, x, batch_size)

    def logits(self, x: Samples, *, batch_size: int = 256) -> Array:
        """As `predict`, without the Softmax or Sigmoid at the end."""
        self._need_weights("logits")
        return training.predict(self, x, batch_size, logits=True)

    def load_weights(self, source: Path | Mapping[str, Array]) -> str:
        """Take the weights from a file of another library: see `engine.nn.weights`."""
        self._need_weights("load_weights")
        return weights.load(self, source)

    def summary(self) -> None:
        """Print the layers with their output shapes and numbers of parameters."""
        self._need_weights("summary")
        print(summary.table(self))

    def save(self, path: Path) -> None:
        """Write the model to a safetensors file; an older file is replaced only by a whole new one.
        """
        self._need_weights("save")
        saving.save(self, path)

    @property
    def num_params(self) -> int:
        self._need_weights("num_params")
        return self.weights.size

    def _need_weights(self, who: str) -> None:
        if self.weights is None:
            raise ValueError(f"{who}: the model has no `input_shape` yet, expected one, "
                             "or a fit before")
