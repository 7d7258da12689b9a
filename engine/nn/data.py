"""Where batches come from: arrays, folders of images, and anything that gives one after another."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from engine._typing import Array, Ints
from engine.nn import _check, photos
from engine.nn._typing import Layout
from engine.nn._typing import Path as Path_

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


class ImageFolder:
    """Photographs in one folder for each class, read when they are needed.

    It stands wherever `fit`, `evaluate` and `predict` take `x`, and brings its own `y`.
    ``folder[indices]`` reads those images, as float32 from 0 to 1.

    Parameters
    ----------
    path : path-like
        Holds a folder for each class; the classes are numbered in the order of their names.
    size : int or pair of int
        Height and width.  A photograph is scaled to cover this, and its middle is taken.
    layout : {"NCHW", "NHWC"}
    transform : callable, optional
        Changes every batch that is read, e.g. ``nn.Normalize(mean, std)``.

    Attributes
    ----------
    classes : list of str
    paths : list of Path
    labels : ndarray of int64, shape (N,)
    shape : tuple of int
        (N, 3, H, W) or (N, H, W, 3): of the images before `transform`.
    """

    def __init__(self, path: Path_, size: Ints, *, layout: Layout = "NCHW",
                 transform: Callable[[Array], Array] | None = None):
        self.size = _check.sizes("ImageFolder", "size", size, 2)
        self.layout = _check.option("ImageFolder", "layout", layout, ("NCHW", "NHWC"))
        self.transform = transform
        folders = sorted(each for each in Path(path).iterdir() if each.is_dir())
        found = [sorted(file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)
                 for folder in folders]
        self.classes = [folder.name for folder, files in zip(folders, found, strict=True) if files]
        found = [files for files in found if files]
        if not found:
            raise ValueError(f"ImageFolder: `{path}` has no images in folders, "
                             "expected one folder for each class")
        self.paths = [file for files in found for file in files]
        self.labels = np.repeat(np.arange(len(found)), [len(files) for files in found])

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, ...]:
        sample = (3, *self.size) if self.layout == "NCHW" else (*self.size, 3)
        return (len(self), *sample)

    def __getitem__(self, indices) -> np.ndarray:
        numbers = np.arange(len(self))[indices]
        pictures = [photos.read_middle(self.paths[i], self.size) for i in np.atleast_1d(numbers)]
        x = np.array(pictures, np.float32).reshape(-1, *self.size, 3) / 255
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if self.layout == "NCHW" else x
        x = self.transform(x) if self.transform else x
        return x if np.ndim(numbers) else x[0]


class Indexed:
    """Batches of samples that can be picked by number: of arrays or of an ImageFolder."""

    def __init__(self, x, target, batch_size: int, shuffle: bool):
        self.x, self.target, self.batch_size, self.shuffle = x, target, batch_size, shuffle
        self.steps = -(-len(x) // batch_size)

    def jobs(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """What each batch of an epoch is to hold."""
        order = rng.permutation(len(self.x)) if self.shuffle else np.arange(len(self.x))
        return (order[start:start + self.batch_size]
                for start in range(0, len(order), self.batch_size))

    def load(self, job: np.ndarray, rows: Callable) -> tuple[np.ndarray, np.ndarray, int]:
        """Of the batch, the samples and targets in ``rows(count)``, and how many it has."""
        own = job[rows(len(job))]
        return self.x[own], self.target[own], len(job)


class Stream:
    """Batches as an iterable gives them, each a pair (x, y).

    Without `steps` it is iterated anew in every epoch; with them an epoch is so many batches, and
    the next one goes on where it ended.
    """

    def __init__(self, who: str, batches: Iterable, check: Callable, steps: int | None):
        self.who, self.batches, self.check, self.limit = who, batches, check, steps
        self.steps = len(batches) if steps is None and hasattr(batches, "__len__") else steps
        self.going = None if steps is None else iter(batches)

    def jobs(self, rng):
        if self.limit is None:
            yield from self.batches
            return
        for count in range(self.limit):
            try:
                yield next(self.going)
            except StopIteration:
                raise ValueError(f"{self.who}: `x` ended after {count} batches of an epoch, "
                                 f"expected {self.limit} (steps_per_epoch)") from None

    def load(self, job, rows):
        try:
            x, y = job
        except (TypeError, ValueError):
            raise TypeError(f"{self.who}: `x` gave a {type(job).__name__}, "
                            "expected pairs (x, y) of a batch") from None
        x, target = self.check(x, y)
        own = rows(len(x))
        return x[own], target[own], len(x)


def is_stream(x) -> bool:
    """Whether x gives batches and is not samples itself."""
    if isinstance(x, ImageFolder) or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__next__") or not isinstance(x, (list, tuple)) and hasattr(x, "__iter__")


def split(who: str, x, y, share: float):
    """Samples x and targets y without the last ones, that share of them, and the pair of those."""
    share = _check.number(who, "validation_split", share, 0, 1)
    if is_stream(x) or isinstance(x, ImageFolder):
        raise ValueError(f"{who}: `validation_split` is {share:g}, expected 0 or arrays x and y "
                         f"(x is a {type(x).__name__}: pass validation_data)")
    if y is None:
        raise TypeError(f"{who}: `y` is None, expected the targets of x")
    x, y = np.asarray(x), np.asarray(y)
    _check.same_length(who, x, y)
    first = math.floor(len(x) * (1 - share))
    if first == 0 or first == len(x):
        raise ValueError(f"{who}: `validation_split` is {share:g}, expected a share that leaves "
                         f"samples on both sides (x has {len(x)})")
    return x[:first], y[:first], (x[first:], y[first:])


def ahead(prepare: Callable, jobs: Iterable, workers: int) -> Iterator:
    """``prepare(job)`` of each job, in their order; `workers` threads are some batches ahead."""
    if not workers:
        yield from map(prepare, jobs)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="engine-batches") as pool:
        waiting = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(prepare, job))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
