"""Normalisations: x (N, C, ...) -> y of the same shape."""

from __future__ import annotations

import math

import numpy as np

import engine
from engine.nn import _check
from engine.nn.activations import ReLU
from engine.nn.layer import Layer


class BatchNorm(Layer):
    """Brings each channel to mean 0 and variance 1, then to a learned scale and shift.

    ``y = (x - mean) / sqrt(variance + epsilon) * weight + bias``, where mean and variance are those
    of the channel over the batch (and all pixels) while training, and running means of them
    afterwards.  Works on images, lines and rows of features.

    In a parallel `fit` the batch is that of all ranks together.

    Parameters
    ----------
    momentum : float
        Share of the newest batch in the running means.
    epsilon : float
    scale, shift : bool
        Whether there is a learned `weight`, and a learned `bias`.

    Source: Ioffe & Szegedy 2015, algorithms 1 and 2.  The running variance is the unbiased one, as
    in that paper and in PyTorch.
    """

    def __init__(self, *, momentum: float = 0.1, epsilon: float = 1e-5, scale: bool = True,
                 shift: bool = True, name: str | None = None):
        super().__init__(name)
        self.momentum = _check.number(self.title, "momentum", momentum, 0, 1 + 1e-9)
        self.epsilon = _check.number(self.title, "epsilon", epsilon, 0)
        self.scale, self.shift = bool(scale), bool(shift)

    def create(self, input_shape):
        self.channels = _channels(self, input_shape)
        dtype = self.context.dtype
        self.buffers = {"running_mean": np.zeros(self.channels, dtype),
                        "running_var": np.ones(self.channels, dtype)}
        return (({"weight": np.ones(self.channels)} if self.scale else {})
                | ({"bias": np.zeros(self.channels)} if self.shift else {}))

    def forward(self, x, training=False, activation=None, residual=None):
        """As of any layer; in the same pass a residual can be added and "relu" applied.

        After both, `backward` is to be given the gradient before the activation.
        """
        options = dict(axis=self._axis(x.ndim), epsilon=self.epsilon)
        weight, bias = self.params.get("weight"), self.params.get("bias")
        if not training:
            return engine.batch_norm(x, self.buffers["running_mean"], self.buffers["running_var"],
                                     weight, bias, residual=residual, activation=activation,
                                     **options)
        count = self.group.total(len(x)) * math.prod(x.shape[1:]) // self.channels
        if count < 2:
            raise ValueError(f"{self.title}: a training batch has one value per channel, expected "
                             "at least two")
        mean, variance = self._moments(x, count)
        y = engine.batch_norm(x, mean, variance, weight, bias, residual=residual,
                              activation=activation, **options)
        options["activation"] = activation if residual is None else None
        self.keep(x, mean, variance, count, options)
        self._remember(mean, variance * x.dtype.type(count / (count - 1)))
        return y

    def train_forward(self, x, after):
        if type(after) is not ReLU:
            return super().train_forward(x, after)
        after.keep(None)
        return self.forward(x, True, activation="relu"), True

    def backward(self, dy, need_dx=True):
        x, mean, variance, count, options = self.kept()
        arrays = dy, x, mean, variance, self.params.get("weight"), self.params.get("bias")
        dweight, dbias = engine.batch_norm_backward_weight(*arrays, **options)
        self.set_grads(**({"weight": dweight} if self.scale else {}),
                       **({"bias": dbias} if self.shift else {}))
        if not need_dx:
            return None
        if self.group.size > 1:
            sums = self.group.sum(np.concatenate([dweight, dbias]))
            dweight, dbias = sums[:self.channels], sums[self.channels:]
        return engine.batch_norm_backward_data(*arrays, dweight, dbias, count=count, **options)

    def as_affine(self):
        """The scale and the shift of each channel that remain after training."""
        factor = self.params.get("weight", 1) / np.sqrt(self.buffers["running_var"] + self.epsilon)
        factor = factor.astype(self.context.dtype)
        return factor, self.params.get("bias", 0) - self.buffers["running_mean"] * factor

    def _moments(self, x, count):
        """Of the `count` values of each channel that all ranks have together."""
        own = x.size // self.channels
        if self.group.size == 1:
            return engine.moments(x, axis=self._axis(x.ndim))
        mean, variance = engine.moments(x, axis=self._axis(x.ndim)) if own else (
            np.zeros((2, self.channels), x.dtype))
        share = x.dtype.type(own / count)
        middle = self.group.sum(mean * share)
        return middle, self.group.sum((variance + (mean - middle) ** 2) * share)

    def _remember(self, mean, variance):
        for name, new in (("running_mean", mean), ("running_var", variance)):
            self.buffers[name] += self.momentum * (new - self.buffers[name])

    def _axis(self, ndim):
        return 1 if ndim == 2 or self.context.layout == "NCHW" else -1


class LocalResponseNorm(Layer):
    """Divides every value by a measure of those at the same place in neighbouring channels.

    ``y = x / (k + alpha * mean)**beta``, with the mean of x**2 over `size` channels around it
    (channels that do not exist count as 0).

    Source: Krizhevsky et al. 2012, section 3.3, where alpha stands before the sum instead: its
    0.0001 is ``alpha=5e-4`` here, with ``size=5, beta=0.75, k=2``.  The defaults are PyTorch's.
    """

    def __init__(self, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0,
                 name: str | None = None):
        super().__init__(name)
        self.size = _check.integer(self.title, "size", size)
        self.alpha = _check.number(self.title, "alpha", alpha, 0)
        self.beta = _check.number(self.title, "beta", beta, 0)
        self.k = _check.number(self.title, "k", k, 0)

    def create(self, input_shape):
        _channels(self, input_shape)
        before = self.size // 2
        self.window = dict(kernel_size=(self.size, 1), stride=1,
                           padding=((before, self.size - 1 - before), (0, 0)))
        return {}

    def forward(self, x, training=False):
        if x.size == 0:
            return x
        mean = engine.avg_pool2d(self._as_planes(x * x), **self.window).reshape(x.shape)
        measure = x.dtype.type(self.k) + x.dtype.type(self.alpha) * mean
        y = x * measure ** -x.dtype.type(self.beta)
        if training:
            self.keep(x, y, measure)
        return y

    def backward(self, dy, need_dx=True):
        if dy.size == 0:
            return dy if need_dx else None
        x, y, measure = self.kept()
        if not need_dx:
            return None
        spread = engine.avg_pool2d_backward(self._as_planes(dy * y / measure),
                                            self._as_planes(x), **self.window).reshape(x.shape)
        dx = dy * measure ** -x.dtype.type(self.beta)
        return dx - x.dtype.type(2 * self.alpha * self.beta) * x * spread

    def _as_planes(self, x):
        """One plane for each sample (or pixel): channels along its height."""
        if self.context.layout == "NCHW":
            return x.reshape(len(x), 1, x.shape[1], math.prod(x.shape[2:]))
        return x.reshape(-1, 1, x.shape[-1], 1)


def _channels(layer: Layer, shape: tuple[int, ...]) -> int:
    if not 1 <= len(shape) <= 3:
        raise ValueError(f"{layer.title}: a sample has {len(shape)} axes, expected 1 (features), "
                         "2 (a line with channels) or 3 (an image with channels)")
    return shape[0 if layer.context.layout == "NCHW" or len(shape) == 1 else -1]
