"""Data-parallel training: the ranks of a group share the samples of every batch.

Each rank has the whole model, loads its own samples of a batch, and adds its part to the gradients
of the batch.  What depends on all samples is summed over the ranks: the gradients, the loss, the
statistics of a batch normalisation.  Random numbers are drawn for the whole batch on every rank,
and each takes those of its samples.  So a training ends as that of one process does, up to the
order of sums, and goes on from its checkpoints on any number of ranks.

Layers and `fit` ask the same things of any group; a process by itself is a group too: `Alone`.
How numbers get from one rank to another is left to `engine.interop.mpi`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib import import_module

import numpy as np

BUCKET = 1 << 17  # bytes: less is not worth a message of its own
LAUNCHED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # what launchers set


class Alone:
    """A group of one process, which has every batch to itself.

    Attributes
    ----------
    rank, size : int
        The number of this process among those of the group, from 0, and how many there are.
    """

    rank, size = 0, 1

    def rows(self, count: int) -> slice:
        """Which samples of a batch of `count` are this rank's."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def generator(self, seed, count: int) -> np.random.Generator:
        """The random numbers for this rank's samples of a batch of `count`."""
        return np.random.default_rng(seed)

    def broadcast(self, value):
        """The value that rank 0 gives."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return flag

    def sum(self, array: np.ndarray) -> np.ndarray:
        """The sum over all ranks."""
        return array

    # ---- a batch, from its beginning to the sums over all ranks --------------------------------

    def begin(self, count: int) -> None:
        """A training batch of `count` samples begins."""

    def total(self, own: int) -> int:
        """How many samples the batch has, `own` of which are this rank's."""
        return own

    def random(self, rng: np.random.Generator, shape, dtype) -> np.ndarray:
        """Uniform numbers for this rank's samples of the batch; `rng` is alike on all ranks."""
        return rng.random(shape, dtype)

    def scaled(self, dy: np.ndarray) -> np.ndarray:
        """The gradient of a mean over this rank's samples as part of that over the batch."""
        return dy

    def start(self, array: np.ndarray) -> None:
        """Begin to sum an array over all ranks, in place; it is done after `finish`."""

    def ready(self, layer) -> None:
        """All gradients in the layer are there: called during the backward pass."""

    def finish(self) -> None:
        """Wait until all sums are done, those of the gradients too."""


class Group(Alone):
    """Several ranks; a class derived from it has `broadcast`, `sum`, `start`, `poll` and `wait`."""

    buckets: Buckets | None = None

    def __init__(self, rank: int, size: int):
        self.rank, self.size = rank, size
        self.count = 0

    def generator(self, seed, count):
        return RowGenerator(seed, count, self.rows(count))

    def any(self, flag):
        return bool(self.sum(np.array([flag], np.int32))[0])

    def begin(self, count):
        self.count = count

    def total(self, own):
        return self.count

    def random(self, rng, shape, dtype):
        return rng.random((self.count, *shape[1:]), dtype)[self.rows(self.count)]

    def scaled(self, dy):
        return dy * dy.dtype.type(len(dy) / self.count)

    def ready(self, layer):
        self.poll()
        self.buckets.ready(layer)

    def finish(self):
        if self.buckets:
            self.buckets.start_rest()
        self.wait()

    def poll(self) -> None:
        """Give the sums that have begun a chance to go on."""

    def wait(self) -> None:
        """Return when all sums that have begun are done."""
        raise NotImplementedError


class Buckets:
    """Starts to sum gradients over the ranks as soon as a backward pass has enough of them.

    Neighbouring layers are put together, from the last one on, until their gradients fill a
    message of `BUCKET` bytes; each such piece of the model's vector is summed while the pass goes
    on below it.  Source: Li et al. 2020, "PyTorch Distributed", section 3.2.3.
    """

    def __init__(self, model, group: Group):
        self.group, self.pieces, self.layers = group, [], []
        start = stop = model.gradients.size
        frozen = stop - model.trained_gradients.size
        together: list[int] = []
        for layer in reversed([each for each in model.walk() if each.params]):
            start -= sum(value.size for value in layer.params.values())
            if start < frozen:
                break
            together.append(id(layer))
            if (stop - start) * model.gradients.itemsize >= BUCKET:
                self._close(model.gradients[start:stop], together)
                stop, together = start, []
        if together:
            self._close(model.gradients[frozen:stop], together)
        self._reset()

    def _close(self, piece: np.ndarray, layers: list[int]) -> None:
        self.pieces.append(piece)
        self.layers.append(layers)

    def _reset(self) -> None:
        self.missing = [set(layers) for layers in self.layers]
        self.started = [False] * len(self.pieces)

    def ready(self, layer) -> None:
        """Start what is complete with the gradients in this layer."""
        done = {id(each) for each in layer.walk()}
        for i, missing in enumerate(self.missing):
            missing -= done
            if not missing:
                self._start(i)

    def start_rest(self) -> None:
        """The backward pass is over: start what has not been started."""
        for i in range(len(self.pieces)):
            self._start(i)
        self._reset()

    def _start(self, i: int) -> None:
        if not self.started[i]:
            self.started[i] = True
            self.group.start(self.pieces[i])


class RowGenerator(np.random.Generator):
    """Draws for all samples of a batch, and returns what belongs to some of them.

    That concerns the calls whose `size` begins with the number of those samples; all others are
    the same for every rank.
    """

    def __init__(self, seed, count: int, rows: slice):
        super().__init__(np.random.PCG64(seed))
        self.count, self.rows = count, rows


def _drawing_all(name: str, place: int):
    """That method of a Generator, whose argument `size` has that place, for `RowGenerator`."""
    method = getattr(np.random.Generator, name)

    def draw(self, *args, **options):
        args = list(args)
        given, key = (args, place) if len(args) > place else (options, "size")
        shape = given[key] if given else None
        shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
        if shape[0] != self.rows.stop - self.rows.start:
            return method(self, *args, **options)
        given[key] = (self.count, *shape[1:])
        return method(self, *args, **options)[self.rows]

    return draw


for _place, _names in enumerate([("random", "standard_normal", "standard_exponential"),
                                 ("exponential", "poisson", "choice"),
                                 ("integers", "uniform", "normal", "laplace", "binomial", "beta",
                                  "gamma", "lognormal")]):
    for _name in _names:
        setattr(RowGenerator, _name, _drawing_all(_name, _place))


ALONE = Alone()


def world() -> Alone:
    """All ranks that an MPI launcher such as mpiexec has started; else this process by itself.

    Raises
    ------
    ImportError
        If there are several ranks and mpi4py is not installed.
    """
    if all(int(os.environ.get(name, 1)) == 1 for name in LAUNCHED):
        return ALONE
    return import_module("engine.interop.mpi").ProcessGroup()


@contextmanager
def joined(model, group: Alone):
    """While the ``with`` block runs, the layers of the model are trained by all ranks together."""
    if group.size == 1:
        yield
        return
    group.buckets = Buckets(model, group)
    for layer in model.walk():
        layer.group = group
    try:
        yield
    finally:
        group.buckets = None
        for layer in model.walk():
            del layer.group  # that of the class comes to light again: ALONE
