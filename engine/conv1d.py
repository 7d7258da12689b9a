"""1-D convolution (cross-correlation), forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

from engine import _convolution
from engine._convolution import ConvGradients
from engine._typing import (
    Activation,
    Algorithm,
    Array,
    ArrayLike,
    Backend,
    Ints,
    Layout1d,
    Padding,
    PaddingMode,
    Precision,
)


def conv1d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, stride: Ints = 1,
           padding: Padding = 0, dilation: Ints = 1, groups: int = 1,
           padding_mode: PaddingMode = "constant", activation: Activation | None = None,
           layout: Layout1d = "NCL", out: Array | None = None, algorithm: Algorithm | None = None,
           backend: Backend | None = None, precision: Precision | None = None) -> Array:
    """1-D convolution: what `conv2d` is for images, along the line.

    It is a `conv2d` on images of height 1, with the same kernels.

    Parameters
    ----------
    x : array_like
        (N, C, L), a single one (C, L) or a bare line (L,); N may be 0.  Any strides: the
        result gets the memory order of x.
    weight : array_like
        (out, C / groups, k) of any strides, or (k,) where x is bare.
    bias : array_like, optional
        (out,); where x is bare also a bare number.
    stride, dilation : int or (int,)
        Steps of the window and between its elements, at least 1.
    padding : int, (int,), ((before, after),) or str
        What is added around x; the names are those of `conv2d`.
    groups, padding_mode, activation, out, algorithm, backend, precision
        As in `conv2d`.
    layout : {"NCL", "NLC"}
        The order of the axes of x and of the result, no more.  `weight` keeps its own.

    Returns
    -------
    ndarray
        (N, out, OL), or without the axes that x does not have, in the dtype
        ``numpy.result_type(x, weight)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`.

    Notes
    -----
    N * out * OL * (C / groups) * k multiply-adds.  The result for one
    image depends neither on the other images of the batch nor on the number of threads.

    Examples
    --------
    >>> import engine
    >>> engine.conv1d([1, 4, 9, 16], [-1, 1])
    array([3, 5, 7])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.forward("conv1d", x, weight, bias, activation, options, out)


def conv1d_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike, *, stride: Ints = 1,
                    padding: Padding = 0, dilation: Ints = 1, groups: int = 1,
                    padding_mode: PaddingMode = "constant", layout: Layout1d = "NCL",
                    algorithm: Algorithm | None = None, backend: Backend | None = None,
                    precision: Precision | None = None,
                    wrt: Sequence[str] = ("x", "weight", "bias")) -> ConvGradients:
    """Gradients of `conv1d` with respect to x, weight and bias, without its activation.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x, weight, stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
    precision
        As in `conv1d`.
    wrt : tuple of {"x", "weight", "bias"}
        Which gradients to compute.

    Returns
    -------
    ConvGradients
        A named tuple (dx, dweight, dbias), None for those not in `wrt`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv1d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, weight = np.arange(4.0).reshape(1, 1, 4), np.ones((1, 1, 2))
    >>> dx, dweight, dbias = engine.conv1d_backward(np.ones((1, 1, 3)), x, weight)
    >>> dx, dweight, dbias
    (array([[[1., 2., 2., 1.]]]), array([[[3., 6.]]]), array([3.]))
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward("conv1d_backward", dy, x, weight, options, wrt)


def conv1d_backward_data(dy: ArrayLike, weight: ArrayLike, x_shape: Sequence[int], *,
                         stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1,
                         groups: int = 1, padding_mode: PaddingMode = "constant",
                         layout: Layout1d = "NCL", algorithm: Algorithm | None = None,
                         backend: Backend | None = None,
                         precision: Precision | None = None) -> Array:
    """Gradient of `conv1d` with respect to x, of which only the shape is needed.

    Arguments and errors are those of `conv1d_backward`; the result has the memory order of dy.

    Examples
    --------
    >>> import engine
    >>> engine.conv1d_backward_data([1, 1, 1], [1, 2], (4,))
    array([1, 3, 3, 2])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward_data("conv1d_backward_data", dy, weight, x_shape, options)


def conv1d_backward_weight(dy: ArrayLike, x: ArrayLike, weight_shape: Sequence[int], *,
                           stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1,
                           groups: int = 1, padding_mode: PaddingMode = "constant",
                           layout: Layout1d = "NCL", algorithm: Algorithm | None = None,
                           backend: Backend | None = None,
                           precision: Precision | None = None) -> Array:
    """Gradient of `conv1d` with respect to weight, of which only the shape is needed.

    Arguments and errors are those of `conv1d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.conv1d_backward_weight([1, 1, 1], [0, 1, 2, 3], (2,))
    array([3, 6])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward_weight("conv1d_backward_weight", dy, x, weight_shape, options)
