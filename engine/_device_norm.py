"""Batch normalisation of arrays on a device, in terms of the convolutions there.

A scale and a shift of every channel are a depthwise 1x1 convolution, and a sum of products is the
gradient of its weight.
"""

from __future__ import annotations

import numpy as np

import engine


def moments(op, x, axis, backend):
    images, layout, channels = _as_images(op, x, axis)
    count = x.size // channels
    mean = _sum(x, axis) / x.dtype.type(count)
    centred = _per_channel(images, np.ones_like(mean), -mean, layout, backend)
    return mean, _products(centred, centred, layout, backend) / x.dtype.type(count)


def forward(op, x, residual, mean, variance, weight, bias, epsilon, activation, axis, out, backend):
    if out is not None:
        raise ValueError(f"{op}: `out` is given, expected None for arrays on a device")
    if x.size == 0:
        return x
    images, layout, _ = _as_images(op, x, axis)
    y = _normalised(images, mean, variance, weight, bias, epsilon, layout, backend)
    y = y.reshape(x.shape)
    if residual is not None:
        y = y + residual
    return np.maximum(y, 0) if activation else y


def backward_weight(op, dy, x, mean, variance, weight, bias, epsilon, activation, axis, backend):
    if x.size == 0:
        return np.zeros_like(mean), np.zeros_like(mean)
    images, layout, _ = _as_images(op, x, axis)
    dy = _passed(dy, images, mean, variance, weight, bias, epsilon, activation, layout, backend)
    centred = _per_channel(images, np.ones_like(mean), -mean, layout, backend)
    product = _products(dy.reshape(images.shape), centred, layout, backend)
    return product * _inverse(variance, epsilon), _sum(dy, axis)


def backward_data(op, dy, x, mean, variance, weight, bias, dweight, dbias, count, epsilon,
                  activation, axis, backend):
    if x.size == 0:
        return x
    images, layout, channels = _as_images(op, x, axis)
    count = x.dtype.type(count or x.size // channels)
    dy = _passed(dy, images, mean, variance, weight, bias, epsilon, activation, layout, backend)
    inverse = _inverse(variance, epsilon)
    factor = inverse if weight is None else inverse * weight
    dx = _per_channel(dy.reshape(images.shape), factor, -factor * dbias / count, layout, backend)
    slope = factor * inverse * dweight / count
    dx -= _per_channel(images, slope, -slope * mean, layout, backend)
    return dx.reshape(x.shape)


def _normalised(images, mean, variance, weight, bias, epsilon, layout, backend):
    factor = _inverse(variance, epsilon)
    factor = factor if weight is None else factor * weight
    offset = -mean * factor
    return _per_channel(images, factor, offset if bias is None else offset + bias, layout, backend)


def _passed(dy, images, mean, variance, weight, bias, epsilon, activation, layout, backend):
    if activation is None:
        return dy
    y = _normalised(images, mean, variance, weight, bias, epsilon, layout, backend)
    return dy * (y.reshape(dy.shape) > 0)


def _inverse(variance, epsilon):
    return 1 / np.sqrt(variance + variance.dtype.type(epsilon))


def _per_channel(images, factor, offset, layout, backend):
    return engine.conv2d(images, factor.reshape(-1, 1, 1, 1), offset, groups=factor.size,
                         layout=layout, backend=backend)


def _products(a, b, layout, backend):
    """The sum over each channel of ``a * b``."""
    channels = a.shape[1 if layout == "NCHW" else 3]
    return engine.conv2d_backward_weight(a, b, (channels, 1, 1, 1), groups=channels,
                                         layout=layout, backend=backend).ravel()


def _sum(x, axis):
    return x.sum(axis=tuple(each for each in range(x.ndim) if each != axis % x.ndim))


def _as_images(op, x, axis):
    """x with four axes, their order, and the number of channels."""
    if not isinstance(x, np.ndarray) and type(x).__module__.partition(".")[0] != "engine":
        raise TypeError(f"{op}: `x` is of type {type(x).__name__}, expected an array of NumPy or "
                        "of engine.cuda")
    if x.ndim == 2:
        return x[None, :, None, :], "NHWC", x.shape[1]
    first = axis == 1
    if x.ndim < 4:
        x = np.expand_dims(x, 2 if first else 1)
    elif x.ndim > 4:
        x = x.reshape(*x.shape[:3], -1) if first else x.reshape(len(x), x.shape[1], -1, x.shape[-1])
    return x, "NCHW" if first else "NHWC", x.shape[axis]
