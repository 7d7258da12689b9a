"""3-D convolution (cross-correlation), forward and backward."""

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
    Layout3d,
    Padding,
    PaddingMode,
    Precision,
)


def conv3d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, stride: Ints = 1,
           padding: Padding = 0, dilation: Ints = 1, groups: int = 1,
           padding_mode: PaddingMode = "constant", activation: Activation | None = None,
           layout: Layout3d = "NCDHW", out: Array | None = None, algorithm: Algorithm | None = None,
           backend: Backend | None = None, precision: Precision | None = None) -> Array:
    """3-D convolution: what `conv2d` is for images, along depth, height and width.

    It is done by the kernels of `conv2d`: planes that meet in one plane of the result are
    channels there.

    Parameters
    ----------
    x : array_like
        (N, C, D, H, W), a single one (C, D, H, W) or a bare volume (D, H, W); N may be 0.  Any
        strides: the result gets the memory order of x.
    weight : array_like
        (out, C / groups, kd, kh, kw) of any strides, or (kd, kh, kw) where x is bare.
    bias : array_like, optional
        (out,); where x is bare also a bare number.
    stride, dilation : int or (int, int, int)
        Steps of the window and between its elements, at least 1.
    padding : int, (int, int, int), three pairs (before, after) or str
        What is added around x; the names are those of `conv2d`.
    groups, padding_mode, activation, out, algorithm, backend, precision
        As in `conv2d`.
    layout : {"NCDHW", "NDHWC"}
        The order of the axes of x and of the result, no more.  `weight` keeps its own.

    Returns
    -------
    ndarray
        (N, out, OD, OH, OW), or without the axes that x does not have, in the dtype
        ``numpy.result_type(x, weight)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`.

    Notes
    -----
    N * out * OD * OH * OW * (C / groups) * kd * kh * kw multiply-adds.  The result for one
    image depends neither on the other images of the batch nor on the number of threads.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.conv3d(np.arange(8).reshape(2, 2, 2), np.ones((2, 1, 2), int))
    array([[[10],
            [18]]])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.forward("conv3d", x, weight, bias, activation, options, out)


def conv3d_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike, *, stride: Ints = 1,
                    padding: Padding = 0, dilation: Ints = 1, groups: int = 1,
                    padding_mode: PaddingMode = "constant", layout: Layout3d = "NCDHW",
                    algorithm: Algorithm | None = None, backend: Backend | None = None,
                    precision: Precision | None = None,
                    wrt: Sequence[str] = ("x", "weight", "bias")) -> ConvGradients:
    """Gradients of `conv3d` with respect to x, weight and bias, without its activation.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x, weight, stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
    precision
        As in `conv3d`.
    wrt : tuple of {"x", "weight", "bias"}
        Which gradients to compute.

    Returns
    -------
    ConvGradients
        A named tuple (dx, dweight, dbias), None for those not in `wrt`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv3d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, weight = np.arange(8.0).reshape(1, 1, 2, 2, 2), np.ones((1, 1, 2, 2, 2))
    >>> grads = engine.conv3d_backward(np.ones((1, 1, 1, 1, 1)), x, weight)
    >>> grads.dweight[0, 0]
    array([[[0., 1.],
            [2., 3.]],
    <BLANKLINE>
           [[4., 5.],
            [6., 7.]]])
    >>> grads.dbias
    array([1.])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward("conv3d_backward", dy, x, weight, options, wrt)


def conv3d_backward_data(dy: ArrayLike, weight: ArrayLike, x_shape: Sequence[int], *,
                         stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1,
                         groups: int = 1, padding_mode: PaddingMode = "constant",
                         layout: Layout3d = "NCDHW", algorithm: Algorithm | None = None,
                         backend: Backend | None = None,
                         precision: Precision | None = None) -> Array:
    """Gradient of `conv3d` with respect to x, of which only the shape is needed.

    Arguments and errors are those of `conv3d_backward`; the result has the memory order of dy.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.conv3d_backward_data(np.ones((2, 1, 1)), np.ones((2, 1, 2)), (3, 1, 2))
    array([[[1., 1.]],
    <BLANKLINE>
           [[2., 2.]],
    <BLANKLINE>
           [[1., 1.]]])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward_data("conv3d_backward_data", dy, weight, x_shape, options)


def conv3d_backward_weight(dy: ArrayLike, x: ArrayLike, weight_shape: Sequence[int], *,
                           stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1,
                           groups: int = 1, padding_mode: PaddingMode = "constant",
                           layout: Layout3d = "NCDHW", algorithm: Algorithm | None = None,
                           backend: Backend | None = None,
                           precision: Precision | None = None) -> Array:
    """Gradient of `conv3d` with respect to weight, of which only the shape is needed.

    Arguments and errors are those of `conv3d_backward`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> dy, x = np.ones((2, 1, 1)), np.arange(3.0).reshape(3, 1, 1)
    >>> engine.conv3d_backward_weight(dy, x, (2, 1, 1))
    array([[[1.]],
    <BLANKLINE>
           [[3.]]])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward_weight("conv3d_backward_weight", dy, x, weight_shape, options)
