"""Augmentation: training images changed a little each time, so that fewer are learnt by heart.

Anything that takes a batch and a random generator and returns a batch of as many images will do
as ``fit(..., augment=...)``; a list of such runs one after another.

>>> import numpy as np
>>> from engine import nn
>>> change = nn.Compose([nn.RandomCrop(28), nn.RandomFlip()])
>>> change(np.zeros((5, 3, 32, 32)), np.random.default_rng(0)).shape
(5, 3, 28, 28)
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from engine._typing import ArrayLike, Ints
from engine.nn import _check
from engine.nn._typing import Augmentation, Layout

TO_NCHW = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 3, 1, 2)}
FROM_NCHW = {"NCHW": (0, 1, 2, 3), "NHWC": (0, 2, 3, 1)}


class Compose:
    """Several augmentations, one after another."""

    def __init__(self, steps: Iterable[Augmentation]):
        self.steps = list(steps)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for step in self.steps:
            x = step(x, rng)
        return x


class _Images:
    """An augmentation of images: `change` sees (N, C, H, W), whatever the layout is."""

    def __init__(self, layout: Layout):
        self.layout = _check.option(type(self).__name__, "layout", layout, ("NCHW", "NHWC"))

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        who = type(self).__name__
        if x.ndim != 4:
            raise ValueError(f"{who}: `x` has shape {x.shape}, expected 4 axes: images with "
                             "channels")
        return self.change(x.transpose(TO_NCHW[self.layout]), rng).transpose(FROM_NCHW[self.layout])

    def change(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError


class RandomFlip(_Images):
    """Mirrors each image, left to right, upside down or both, each with probability one half."""

    def __init__(self, horizontal: bool = True, vertical: bool = False, layout: Layout = "NCHW"):
        super().__init__(layout)
        self.horizontal, self.vertical = bool(horizontal), bool(vertical)

    def change(self, x, rng):
        for wanted, axis in (self.horizontal, 3), (self.vertical, 2):
            if wanted:
                x = np.where(rng.random((len(x), 1, 1, 1)) < 0.5, np.flip(x, axis), x)
        return x


class RandomShift(_Images):
    """Moves each image up to `pixels` along both axes; what is left free becomes 0."""

    def __init__(self, pixels: int, layout: Layout = "NCHW"):
        super().__init__(layout)
        self.pixels = _check.integer("RandomShift", "pixels", pixels)

    def change(self, x, rng):
        moved = np.zeros_like(x)
        shifts = rng.integers(-self.pixels, self.pixels, (len(x), 2), endpoint=True).tolist()
        for old, new, (down, right) in zip(x, moved, shifts, strict=True):
            new[:, _part(down), _part(right)] = old[:, _part(-down), _part(-right)]
        return moved


class RandomCrop(_Images):
    """Cuts a piece of `size` out of each image, anywhere in it and in `padding` zeros around."""

    def __init__(self, size: Ints, padding: int = 0, layout: Layout = "NCHW"):
        super().__init__(layout)
        self.size = _check.sizes("RandomCrop", "size", size, 2)
        self.padding = _check.integer("RandomCrop", "padding", padding, minimum=0)

    def change(self, x, rng):
        x = np.pad(x, ((0, 0), (0, 0)) + ((self.padding,) * 2,) * 2)
        height, width = self.size
        free = x.shape[2] - height, x.shape[3] - width
        if min(free) < 0:
            raise ValueError(f"RandomCrop: `size` is {self.size}, expected at most {x.shape[2:]}")
        corners = rng.integers(0, free, (len(x), 2), endpoint=True).tolist()
        return np.stack([image[:, top:top + height, left:left + width]
                         for image, (top, left) in zip(x, corners, strict=True)])


class RandomRotate(_Images):
    """Turns each image about its middle by up to `degrees`, and scales it by a factor in `zoom`.

    Between pixels it is interpolated bilinearly; beyond the border, the nearest pixel is taken.
    """

    def __init__(self, degrees: float, zoom: tuple[float, float] = (1.0, 1.0),
                 layout: Layout = "NCHW"):
        super().__init__(layout)
        self.degrees = _check.number("RandomRotate", "degrees", degrees, 0)
        low, high = zoom
        self.zoom = (_check.number("RandomRotate", "zoom", low, np.nextafter(0, 1)),
                     _check.number("RandomRotate", "zoom", high, low))

    def change(self, x, rng):
        turns = np.radians(rng.uniform(-self.degrees, self.degrees, len(x)))
        zooms = rng.uniform(*self.zoom, len(x))
        return np.stack([_turned(image, turn, zoom)
                         for image, turn, zoom in zip(x, turns, zooms, strict=True)])


class Normalize:
    """(x - mean) / std for each channel; it needs no generator, so it suits `ImageFolder` too."""

    def __init__(self, mean: ArrayLike, std: ArrayLike = 1.0, layout: Layout = "NCHW"):
        self.layout = _check.option("Normalize", "layout", layout, ("NCHW", "NHWC"))
        self.mean, self.std = (np.atleast_1d(np.asarray(value, np.float64))
                               for value in (mean, std))
        self.behind = (None, None) if layout == "NCHW" else ()  # the axes after the channels
        for name, value in ("mean", self.mean), ("std", self.std):
            smallest = 0 if name == "std" else -np.inf
            if value.ndim > 1 or not np.all((value > smallest) & np.isfinite(value)):
                raise ValueError(f"Normalize: `{name}` is {value.tolist()}, expected one number "
                                 f"above {smallest:g}, or one for each channel")

    def __call__(self, x: np.ndarray, rng=None) -> np.ndarray:
        channels = x.shape[1 if self.layout == "NCHW" else 3]
        for name, value in ("mean", self.mean), ("std", self.std):
            if len(value) not in (1, channels):
                raise ValueError(f"Normalize: `{name}` has {len(value)} entries, "
                                 f"expected 1 or {channels} (channels of x)")
        dtype = np.result_type(x.dtype, np.float32)
        mean, std = (value.astype(dtype)[(..., *self.behind)]
                     for value in (self.mean, self.std))
        return (x - mean) / std


def _part(shift: int) -> slice:
    """The rows that still have a row `shift` before them (or -shift after them)."""
    return slice(shift, None) if shift > 0 else slice(None, shift or None)


def _turned(image: np.ndarray, angle: float, zoom: float) -> np.ndarray:
    """An image (C, H, W) turned counter-clockwise about its middle and enlarged."""
    height, width = image.shape[1:]
    down, right = np.mgrid[:height, :width] - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    # where in the old image the pixels of the new one come from
    rows = np.clip(cos * down + sin * right + (height - 1) / 2, 0, height - 1)
    columns = np.clip(cos * right - sin * down + (width - 1) / 2, 0, width - 1)
    top, left = (np.minimum(each.astype(int), max(size - 2, 0))
                 for each, size in ((rows, height), (columns, width)))
    below, beside = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    v, h = ((rows - top).astype(image.dtype), (columns - left).astype(image.dtype))
    return ((1 - v) * ((1 - h) * image[:, top, left] + h * image[:, top, beside])
            + v * ((1 - h) * image[:, below, left] + h * image[:, below, beside]))
