"""Batch normalisation: the moments of each channel, and each channel brought to others.

A layer that is trained takes the moments of its batch and normalises by them:

>>> import numpy as np, engine
>>> x = np.arange(8.0).reshape(2, 2, 2)
>>> mean, variance = engine.moments(x)
>>> y = engine.batch_norm(x, mean, variance, epsilon=0)
>>> y.mean(axis=(0, 2)).round(12), y.var(axis=(0, 2)).round(12)
(array([0., 0.]), array([1., 1.]))

Source: Ioffe and Szegedy 2015, algorithm 1 and section 3.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from engine import _norm
from engine._typing import Array, ArrayLike, Backend


class Moments(NamedTuple):
    """Of each channel."""

    mean: Array
    variance: Array


class AffineGradients(NamedTuple):
    """Of the scale and the shift of each channel."""

    dweight: Array
    dbias: Array


def moments(x: ArrayLike, *, axis: int = 1, backend: Backend | None = None) -> Moments:
    """Mean and variance of each channel over all else, the batch and the pixels.

    Chunks that stay in the cache are read twice, for their mean and for the squares about it, and
    are put together in float64 (Chan, Golub and LeVeque 1983): the variance is right also where it
    is small beside the mean.  The order of sums depends on the shape of x alone.

    Parameters
    ----------
    x : array_like
        (N, C, ...) or (N, ..., C), of any strides.
    axis : {1, -1}
        Where the channels are.
    backend : {"c", "numpy", "cuda"}, optional
        The only backend to use.  None: the first that can do it.

    Returns
    -------
    mean, variance : ndarray
        (C,), in the dtype of x (float64 for integers).  The variance is the biased one, as of
        `numpy.var`.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong type, shape or value; also if x has no elements.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.moments([[1.0, 5.0], [3.0, 5.0]])
    Moments(mean=array([2., 5.]), variance=array([1., 0.]))
    """
    mean, variance = _norm.moments("moments", x, axis, backend)
    return Moments(mean, variance)


def batch_norm(x: ArrayLike, mean: ArrayLike, variance: ArrayLike, weight: ArrayLike | None = None,
               bias: ArrayLike | None = None, *, epsilon: float = 1e-5,
               residual: ArrayLike | None = None, activation: Literal["relu"] | None = None,
               axis: int = 1, out: Array | None = None, backend: Backend | None = None) -> Array:
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias``, channel by channel.

    Parameters
    ----------
    x : array_like
        (N, C, ...) or (N, ..., C), of any strides.
    mean, variance : array_like
        (C,): those of `moments`, or running means of them.
    weight, bias : array_like, optional
        (C,): 1 and 0 by default.
    epsilon : float
    residual : array_like, optional
        Of the shape of x: added to the result.
    activation : {None, "relu"}
        Applied last, in the same pass.
    axis : {1, -1}
        Where the channels are.
    out : ndarray, optional
        Where to write the result: of exactly its shape and dtype, and not overlapping an input.
    backend
        As in `moments`.

    Returns
    -------
    ndarray
        In the shape and memory order of x; the dtype is numpy.result_type of the arrays.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong type, shape or value.

    Examples
    --------
    >>> import engine
    >>> engine.batch_norm([[1.0, 5.0], [3.0, 5.0]], [2.0, 5.0], [1.0, 1.0], epsilon=0)
    array([[-1.,  0.],
           [ 1.,  0.]])
    """
    vectors = {"mean": mean, "variance": variance, "weight": weight, "bias": bias}
    y: Any = _norm.forward("batch_norm", x, residual, vectors, epsilon, activation, axis, out,
                           backend)
    return y


def batch_norm_backward_weight(dy: ArrayLike, x: ArrayLike, mean: ArrayLike, variance: ArrayLike,
                               weight: ArrayLike | None = None, bias: ArrayLike | None = None, *,
                               epsilon: float = 1e-5, activation: Literal["relu"] | None = None,
                               axis: int = 1, backend: Backend | None = None) -> AffineGradients:
    """Gradients of `batch_norm` with respect to weight and bias.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of the shape of x.
    x, mean, variance, weight, bias, epsilon, activation, axis, backend
        As in the forward.  With an activation, what it stopped is found again from x: that of a
        forward with a residual cannot be, so give `relu_backward` its part of the work there.

    Returns
    -------
    dweight, dbias : ndarray
        (C,)

    Raises
    ------
    TypeError, ValueError
        As `batch_norm`.

    Examples
    --------
    >>> import engine
    >>> engine.batch_norm_backward_weight([[1.0], [2.0]], [[1.0], [3.0]], [2.0], [1.0], epsilon=0)
    AffineGradients(dweight=array([1.]), dbias=array([3.]))
    """
    vectors = {"mean": mean, "variance": variance, "weight": weight, "bias": bias}
    dweight, dbias = _norm.backward_weight("batch_norm_backward_weight", dy, x, vectors, epsilon,
                                           activation, axis, backend)
    return AffineGradients(dweight, dbias)


def batch_norm_backward_data(dy: ArrayLike, x: ArrayLike, mean: ArrayLike, variance: ArrayLike,
                             weight: ArrayLike | None, bias: ArrayLike | None, dweight: ArrayLike,
                             dbias: ArrayLike, *, count: int | None = None, epsilon: float = 1e-5,
                             activation: Literal["relu"] | None = None, axis: int = 1,
                             backend: Backend | None = None) -> Array:
    """Gradient of `batch_norm` with respect to x, if mean and variance are the moments of x.

    Parameters
    ----------
    dy, x, mean, variance, weight, bias, epsilon, activation, axis, backend
        As in `batch_norm_backward_weight`.
    dweight, dbias : array_like
        (C,): what `batch_norm_backward_weight` returned; if several processes share a batch, the
        sums over all of them.
    count : int, optional
        How many values of each channel mean and variance are of; all that x has by default.

    Returns
    -------
    ndarray
        In the shape and memory order of x.

    Raises
    ------
    TypeError, ValueError
        As `batch_norm`.

    Examples
    --------
    >>> import engine
    >>> dy, x, moments = [[1.0], [0.0], [0.0]], [[0.0], [3.0], [6.0]], ([3.0], [6.0])
    >>> sums = engine.batch_norm_backward_weight(dy, x, *moments, epsilon=0)
    >>> engine.batch_norm_backward_data(dy, x, *moments, None, None, *sums, epsilon=0).round(4)
    array([[ 0.068 ],
           [-0.1361],
           [ 0.068 ]])
    """
    vectors = {"mean": mean, "variance": variance, "weight": weight, "bias": bias,
               "dweight": dweight, "dbias": dbias}
    dx: Any = _norm.backward_data("batch_norm_backward_data", dy, x, vectors, count, epsilon,
                                  activation, axis, backend)
    return dx
