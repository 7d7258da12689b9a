"""Normalisations: x (N, C, ...) -> y of the same shape."""

from __future__ import annotations

import math

import numpy as np

import engine
from engine.nn import _check
from engine.nn.layer import Layer


class BatchNorm(Layer):
    """Brings each channel to mean 0 and variance 1, then to a learned scale and shift.

    ``y = (x - mean) / sqrt(variance + epsilon) * weight + bias``, where mean and variance are those
    of the channel over the batch (and all pixels) while training, and running means of them
    afterwards.  Works on images, lines and rows of features.

    In a parallel `fit` the batch is that of all ranks together.

    A scale and a shift of every channel are a depthwise 1x1 convolution, and a sum of products is
    the gradient of its weight: the kernels of `engine` do all the work, a few passes over memory.

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

    def forward(self, x, training=False):
        if not training:
            factor, offset = self.as_affine()
            return self._per_channel(x, factor, offset)
        count = self.group.total(len(x)) * math.prod(x.shape[1:]) // self.channels
        if count < 2:
            raise ValueError(f"{self.title}: a training batch has one value per channel, expected "
                             "at least two")
        mean = self.group.sum(self._sum(x)) / x.dtype.type(count)
        centred = self._per_channel(x, np.ones_like(mean), -mean)
        variance = self.group.sum(self._products(centred, centred)) / x.dtype.type(count)
        inverse = 1 / np.sqrt(variance + self.epsilon, dtype=x.dtype)
        self.keep(centred, inverse, x.dtype.type(count))
        self._remember(mean, variance * (count / (count - 1)))
        return self._per_channel(centred, inverse * self.params.get("weight", 1),
                                 self.params.get("bias"))

    def backward(self, dy, need_dx=True):
        centred, inverse, count = self.kept()
        total, product = self._sum(dy), self._products(dy, centred)
        if self.scale:
            self.set_grads(weight=product * inverse)
        if self.shift:
            self.set_grads(bias=total)
        if not need_dx:
            return None
        # dy less its mean, less its part along the normalised x; all times the slope
        sums = self.group.sum(np.concatenate([total, product]))
        total, product = sums[:self.channels], sums[self.channels:]
        slope = inverse * self.params.get("weight", 1)
        dx = self._per_channel(dy, slope, -slope * total / count)
        dx -= self._per_channel(centred, slope * inverse * inverse * product / count, None)
        return dx

    def as_affine(self):
        """The scale and the shift of each channel that remain after training."""
        factor = self.params.get("weight", 1) / np.sqrt(self.buffers["running_var"] + self.epsilon)
        factor = factor.astype(self.context.dtype)
        return factor, self.params.get("bias", 0) - self.buffers["running_mean"] * factor

    def _remember(self, mean, variance):
        for name, new in (("running_mean", mean), ("running_var", variance)):
            self.buffers[name] += self.momentum * (new - self.buffers[name])

    def _per_channel(self, x, factor, offset):
        if x.size == 0:
            return x
        images, layout = self._as_images(x)
        y = engine.conv2d(images, factor.reshape(-1, 1, 1, 1), offset, groups=self.channels,
                          layout=layout)
        return y.reshape(x.shape)

    def _products(self, a, b):
        """The sum over each channel of ``a * b``."""
        if a.size == 0:
            return np.zeros(self.channels, a.dtype)
        (a, layout), (b, _) = self._as_images(a), self._as_images(b)
        return engine.conv2d_backward_weight(a, b, (self.channels, 1, 1, 1), groups=self.channels,
                                             layout=layout).ravel()

    def _sum(self, x):
        axes = tuple(axis for axis in range(x.ndim) if axis != self._axis(x.ndim))
        return x.sum(axis=axes)

    def _axis(self, ndim):
        return 1 if ndim == 2 or self.context.layout == "NCHW" else ndim - 1

    def _as_images(self, x):
        """x with four axes, and their order; rows of features are the pixels of one image."""
        if x.ndim == 2:
            return x[None, :, None, :], "NHWC"
        return (x if x.ndim == 4 else np.expand_dims(x, 2 if self.context.layout == "NCHW" else 1),
                self.context.layout)


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
