"""S-cells and C-cells, the layers of the neocognitron: x (N, C, H, W) -> y (N, planes, OH, OW).

An S-plane is what a convolution's channel became: cells with shared weights that look for one
feature at every place.  A C-plane is what became pooling: its cells see whether the feature is
somewhere near.  The weights of S-cells are learned without labels and without gradients: the cell
that responds best to what it sees learns to respond to it even better.

Source: Fukushima 1980, "Neocognitron: a self-organizing neural network model for a mechanism of
pattern recognition unaffected by shift in position", equations 1 to 8.
"""

from __future__ import annotations

import numpy as np

import engine
from engine._typing import Array
from engine.nn import _check
from engine.nn.layer import Layer


class Cells(Layer):
    """What both kinds share."""

    def create(self, input_shape):
        if self.context.layout != "NCHW":
            raise ValueError(f"{self.title}: `layout` is {self.context.layout}, expected NCHW")
        self.channels = self.context.channels(self.title, input_shape, 2)
        return {}

    def backward(self, dy, need_dx=True):
        raise NotImplementedError(f"{self.title}: cells have no gradient, expected "
                                  "engine.nn.models.self_organize to train them")


class SCells(Cells):
    """Cells that respond where the input is similar to what their plane has learned.

    ``y = r * max(0, (1 + e) / (1 + 2 * r / (1 + r) * h) - 1)`` with the excitation e, the input
    times the weight, and the inhibition h, a mean amplitude v of the input times another weight.
    So a cell responds if the angle between input and weight has a cosine above r / (1 + r), however
    strong the input is; the response to what it has learned is close to 1.

    Parameters
    ----------
    planes : int
        How many features there can be; planes without weights yet are silent.
    kernel_size, padding : int
    selectivity : float
        The r above.
    column : int
        While learning, one cell wins among those of all planes in so large a square.
    """

    def __init__(self, planes: int, kernel_size: int, *, padding: int = 0,
                 selectivity: float = 2.0, column: int = 5, name: str | None = None):
        super().__init__(name)
        self.planes = _check.integer(self.title, "planes", planes)
        self.kernel_size = _check.integer(self.title, "kernel_size", kernel_size)
        self.padding = _check.integer(self.title, "padding", padding, minimum=0)
        self.selectivity = _check.number(self.title, "selectivity", selectivity, 0)
        self.column = _check.integer(self.title, "column", column)

    def create(self, input_shape):
        super().create(input_shape)
        size = (self.channels, self.kernel_size, self.kernel_size)
        self.window = np.broadcast_to(_bell(self.kernel_size) / self.channels, size).astype(
            self.context.dtype)
        return {"weight": np.zeros((self.planes, *size)), "inhibition": np.zeros(self.planes)}

    def forward(self, x, training=False):
        return self._responses(x, self._amplitude(x), self.selectivity)

    def _responses(self, x, v, r):
        """Equation 1."""
        r = x.dtype.type(r)
        y = engine.conv2d(x, self.params["weight"], padding=self.padding)
        y += 1
        y /= 1 + 2 * r / (1 + r) * self.params["inhibition"].reshape(-1, 1, 1) * v
        y -= 1
        return np.maximum(y, 0, out=y) * r

    def _amplitude(self, x):
        """Equation 3: the root of a weighted mean of squares, (N, 1, OH, OW)."""
        return np.sqrt(engine.conv2d(x * x, self.window[None], padding=self.padding))

    @property
    def used(self) -> int:
        """How many planes have learned something."""
        return int(np.count_nonzero(self.params["inhibition"]))

    def learn(self, x: Array, *, selectivity: float | None = None, rate: float = 1e4) -> None:
        """See the inputs `x` one after the other, and learn from each.

        In every column of cells the one that responds most is a candidate, in every plane the
        strongest candidate is the representative of its plane, whose weights grow by what it sees
        (section 3).  Where the input is strongest among the places at which no cell responds at
        all, a plane that is still without weights learns what is there (Fukushima 2003, section
        3.3).  `selectivity` is that while learning: a higher one makes finer distinctions.
        """
        selectivity = self.selectivity if selectivity is None else selectivity
        p, size = self.padding, self.kernel_size
        for image in x:
            v = self._amplitude(image[None])
            y = self._responses(image[None], v, selectivity)[0]
            padded = np.pad(image, ((0, 0), (p, p), (p, p)))
            places = self._representatives(y)
            silent = np.where(y.max(axis=0) > 0, 0, v[0, 0])
            free = self.used
            if free < self.planes and silent.any():
                places[free] = np.unravel_index(silent.argmax(), silent.shape)
            for plane, (i, j) in places.items():  # equations 7 and 8
                seen = padded[:, i:i + size, j:j + size]
                self.params["weight"][plane] += rate * self.window * seen
                self.params["inhibition"][plane] += rate / 2 * v[0, 0, i, j]

    def _representatives(self, y):
        """The places (i, j) of the cells that learn, by their planes."""
        strongest = y.max(axis=0)
        column = min(self.column, *strongest.shape)
        best, where = engine.max_pool2d(strongest[None], column, return_indices=True,
                                        ceil_mode=True)
        places = {}
        for value, at in sorted(zip(best.ravel(), where.ravel(), strict=True)):
            if value > 0:
                i, j = divmod(int(at), strongest.shape[1])
                places[int(y[:, i, j].argmax())] = i, j  # a stronger one replaces a weaker one
        return places


class CCells(Cells):
    """Cells that respond if their feature is anywhere near, and less if others are there too.

    The responses of an S-plane are blurred, divided by those of all planes on average, and what
    is above that average is brought between 0 and 1: ``y = z / (alpha + z)`` (equations 4 to 6).

    Parameters
    ----------
    kernel_size, stride, padding : int
    alpha : float
        What is half as strong as can be.
    """

    def __init__(self, kernel_size: int, *, stride: int = 1, padding: int = 0, alpha: float = 0.5,
                 name: str | None = None):
        super().__init__(name)
        self.kernel_size = _check.integer(self.title, "kernel_size", kernel_size)
        self.stride = _check.integer(self.title, "stride", stride)
        self.padding = _check.integer(self.title, "padding", padding, minimum=0)
        self.alpha = _check.number(self.title, "alpha", alpha, np.nextafter(0, 1))

    def create(self, input_shape):
        super().create(input_shape)
        bell = _bell(self.kernel_size).astype(self.context.dtype)
        self.window = np.repeat(bell[None, None], self.channels, axis=0)
        return {}

    def forward(self, x, training=False):
        blurred = engine.conv2d(x, self.window, stride=self.stride, padding=self.padding,
                                groups=self.channels)
        z = (1 + blurred) / (1 + blurred.mean(axis=1, keepdims=True)) - 1
        np.maximum(z, 0, out=z)
        return z / (z.dtype.type(self.alpha) + z)


def _bell(size: int) -> np.ndarray:
    """Weights of a square that fall off from its middle, and sum to 1."""
    line = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / (size / 3)) ** 2)
    square = np.outer(line, line)
    return square / square.sum()
