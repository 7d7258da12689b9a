"""Batch normalisation in NumPy: the contract that other backends keep.

Images are (n, c, pixels), in any memory order; vectors have an element per channel.

    y = relu((x - mean) * weight / sqrt(variance + epsilon) + bias + residual)
    dbias = sum(dy)    dweight = sum(dy * (x - mean)) / sqrt(variance + epsilon)

where sums are over all but the channels, and the gradient that relu stops counts as 0.  The mean
and the variance depend on x as well, which gives dx three terms.
"""

from __future__ import annotations

import numpy as np


def refusal(problem, direction):
    return None


def moments(problem, x, mean, variance):
    middle = x.mean(axis=(0, 2), dtype=problem.acc_dtype, keepdims=True)
    mean[...] = middle[0, :, 0]
    variance[...] = np.square(x - middle).mean(axis=(0, 2))


def forward(problem, x, mean, variance, weight, bias, residual, y):
    result = _normalised(problem, x, mean, variance, weight, bias)
    if residual is not None:
        result = result + residual
    y[...] = np.maximum(result, 0) if problem.activation == "relu" else result


def backward_weight(problem, dy, x, mean, variance, weight, bias, dweight, dbias):
    dy = _passed(problem, dy, x, mean, variance, weight, bias)
    product = (dy * (x - _column(problem, mean))).sum(axis=(0, 2), dtype=problem.acc_dtype)
    dweight[...] = product * _inverse(problem, variance)[:, 0]
    dbias[...] = dy.sum(axis=(0, 2), dtype=problem.acc_dtype)


def backward_data(problem, dy, x, mean, variance, weight, bias, dweight, dbias, count, dx):
    dy = _passed(problem, dy, x, mean, variance, weight, bias)
    inverse = _inverse(problem, variance)
    slope = (x - _column(problem, mean)) * (inverse * _column(problem, dweight) / count)
    centred = dy - _column(problem, dbias) / count
    factor = inverse if weight is None else inverse * _column(problem, weight)
    dx[...] = (centred - slope) * factor


def channel_sums(problem, dy, sums):
    sums[...] = dy.sum(axis=(0, 2), dtype=problem.acc_dtype)


def _normalised(problem, x, mean, variance, weight, bias):
    factor = _inverse(problem, variance)
    if weight is not None:
        factor = factor * _column(problem, weight)
    y = (x - _column(problem, mean)) * factor
    return y if bias is None else y + _column(problem, bias)


def _passed(problem, dy, x, mean, variance, weight, bias):
    if problem.activation is None:
        return dy
    return np.where(_normalised(problem, x, mean, variance, weight, bias) > 0, dy, 0)


def _inverse(problem, variance):
    return 1 / np.sqrt(_column(problem, variance) + problem.acc_dtype.type(problem.epsilon))


def _column(problem, vector):
    return vector.astype(problem.acc_dtype, copy=False)[:, None]
