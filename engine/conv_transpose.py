"""Transposed convolution, forward and backward: the backward-data of a convolution and its own.

The 2-D functions say it all; the others differ in the number of spatial axes.
"""

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
    Layout2d,
    Layout3d,
    Padding,
    Precision,
)


def conv_transpose2d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *,
                     stride: Ints = 1, padding: Padding = 0, output_padding: Ints = 0,
                     dilation: Ints = 1, groups: int = 1, activation: Activation | None = None,
                     layout: Layout2d = "NCHW", out: Array | None = None,
                     algorithm: Algorithm | None = None, backend: Backend | None = None,
                     precision: Precision | None = None) -> Array:
    """Transposed 2-D convolution: every element of x spreads the kernel over the result.

    It is the gradient of a `conv2d` with the same arguments with respect to its x (V. Dumoulin &
    F. Visin, "A guide to convolution arithmetic for deep learning", 2016, section 4).

    Parameters
    ----------
    x : array_like
        (N, C, H, W), one image (C, H, W) or a bare plane (H, W), of any strides.
    weight : array_like
        (C, out / groups, kh, kw) of any strides, or (kh, kw) where x is a bare plane.
    bias : array_like, optional
        (out,); for a bare plane also a bare number.
    stride, dilation, groups
        Those of that convolution.
    padding : int, (int, int), ((top, bottom), (left, right)) or str
        What that convolution adds to its input and so is taken off here; with "same" and
        "same_lower" the result is H * stride high and W * stride wide.
    output_padding : int or (int, int)
        Added to the size of the result at its end, where strides leave it open.
    activation, layout, out, algorithm, backend, precision
        As in `conv2d`.

    Returns
    -------
    ndarray
        (N, out, OH, OW), or without the axes that x does not have, in the memory order of x;
        OH = (H - 1) * stride - pad + dilation * (kh - 1) + 1 + output_padding.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.conv_transpose2d(np.array([[1.0, 2.0]]), np.ones((2, 2)), stride=2)
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed("conv_transpose2d", x, weight, bias, output_padding, activation,
                                   options, out)


def conv_transpose2d_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike, *, stride: Ints = 1,
                              padding: Padding = 0, output_padding: Ints = 0, dilation: Ints = 1,
                              groups: int = 1, layout: Layout2d = "NCHW",
                              algorithm: Algorithm | None = None, backend: Backend | None = None,
                              precision: Precision | None = None,
                              wrt: Sequence[str] = ("x", "weight", "bias")) -> ConvGradients:
    """Gradients of `conv_transpose2d` (without its activation) for x, weight and bias.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x, weight : array_like
        What the forward was given.
    stride, padding, output_padding, dilation, groups, layout, algorithm, backend, precision
        As in `conv_transpose2d`.
    wrt : tuple of {"x", "weight", "bias"}
        Which gradients to compute.

    Returns
    -------
    ConvGradients
        A named tuple (dx, dweight, dbias), None for those not in `wrt`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, dy = np.array([[1.0, 2.0]]), np.arange(8.0).reshape(2, 4)
    >>> dx, dweight, dbias = engine.conv_transpose2d_backward(dy, x, np.ones((2, 2)), stride=2)
    >>> dx
    array([[10., 18.]])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward("conv_transpose2d_backward", dy, x, weight,
                                            output_padding, options, wrt)


def conv_transpose2d_backward_data(dy: ArrayLike, weight: ArrayLike, x_shape: Sequence[int], *,
                                   stride: Ints = 1, padding: Padding = 0, output_padding: Ints = 0,
                                   dilation: Ints = 1, groups: int = 1, layout: Layout2d = "NCHW",
                                   algorithm: Algorithm | None = None,
                                   backend: Backend | None = None,
                                   precision: Precision | None = None) -> Array:
    """Gradient of `conv_transpose2d` with respect to x, of which only the shape is needed.

    Arguments and errors are those of `conv_transpose2d_backward`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> dy = np.arange(8.0).reshape(2, 4)
    >>> engine.conv_transpose2d_backward_data(dy, np.ones((2, 2)), (1, 2), stride=2)
    array([[10., 18.]])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward_data("conv_transpose2d_backward_data", dy, weight,
                                                 x_shape, output_padding, options)


def conv_transpose2d_backward_weight(dy: ArrayLike, x: ArrayLike, weight_shape: Sequence[int], *,
                                     stride: Ints = 1, padding: Padding = 0,
                                     output_padding: Ints = 0, dilation: Ints = 1, groups: int = 1,
                                     layout: Layout2d = "NCHW", algorithm: Algorithm | None = None,
                                     backend: Backend | None = None,
                                     precision: Precision | None = None) -> Array:
    """Gradient of `conv_transpose2d` with respect to weight, of which only the shape is needed.

    Arguments and errors are those of `conv_transpose2d_backward`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, dy = np.array([[1.0, 2.0]]), np.arange(8.0).reshape(2, 4)
    >>> engine.conv_transpose2d_backward_weight(dy, x, (2, 2), stride=2)
    array([[ 4.,  7.],
           [16., 19.]])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward_weight("conv_transpose2d_backward_weight", dy, x,
                                                   weight_shape, output_padding, options)


# ---- 1-D ----------------------------------------------------------------------------------------

def conv_transpose1d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *,
                     stride: Ints = 1, padding: Padding = 0, output_padding: Ints = 0,
                     dilation: Ints = 1, groups: int = 1, activation: Activation | None = None,
                     layout: Layout1d = "NCL", out: Array | None = None,
                     algorithm: Algorithm | None = None, backend: Backend | None = None,
                     precision: Precision | None = None) -> Array:
    """Transposed 1-D convolution; arguments as in `conv_transpose2d`, on lines.

    x is (N, C, L), (C, L) or (L,), `weight` (C, out / groups, k).

    Examples
    --------
    >>> import engine
    >>> engine.conv_transpose1d([1, 2], [1, 1, 1], stride=2)
    array([1, 1, 3, 2, 2])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed("conv_transpose1d", x, weight, bias, output_padding, activation,
                                   options, out)


def conv_transpose1d_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike, *, stride: Ints = 1,
                              padding: Padding = 0, output_padding: Ints = 0, dilation: Ints = 1,
                              groups: int = 1, layout: Layout1d = "NCL",
                              algorithm: Algorithm | None = None, backend: Backend | None = None,
                              precision: Precision | None = None,
                              wrt: Sequence[str] = ("x", "weight", "bias")) -> ConvGradients:
    """Gradients of `conv_transpose1d` (without its activation) for x, weight and bias.

    Examples
    --------
    >>> import engine
    >>> dx, dweight, _ = engine.conv_transpose1d_backward([1, 2, 3, 4], [1, 2], [1, 1], stride=2)
    >>> dx, dweight
    (array([3, 7]), array([ 7, 10]))
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward("conv_transpose1d_backward", dy, x, weight,
                                            output_padding, options, wrt)


def conv_transpose1d_backward_data(dy: ArrayLike, weight: ArrayLike, x_shape: Sequence[int], *,
                                   stride: Ints = 1, padding: Padding = 0, output_padding: Ints = 0,
                                   dilation: Ints = 1, groups: int = 1, layout: Layout1d = "NCL",
                                   algorithm: Algorithm | None = None,
                                   backend: Backend | None = None,
                                   precision: Precision | None = None) -> Array:
    """Gradient of `conv_transpose1d` with respect to x, of which only the shape is needed.

    Examples
    --------
    >>> import engine
    >>> engine.conv_transpose1d_backward_data([1, 2, 3, 4], [1, 1], (2,), stride=2)
    array([3, 7])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward_data("conv_transpose1d_backward_data", dy, weight,
                                                 x_shape, output_padding, options)


def conv_transpose1d_backward_weight(dy: ArrayLike, x: ArrayLike, weight_shape: Sequence[int], *,
                                     stride: Ints = 1, padding: Padding = 0,
                                     output_padding: Ints = 0, dilation: Ints = 1, groups: int = 1,
                                     layout: Layout1d = "NCL", algorithm: Algorithm | None = None,
                                     backend: Backend | None = None,
                                     precision: Precision | None = None) -> Array:
    """Gradient of `conv_transpose1d` with respect to weight, of which only the shape is needed.

    Examples
    --------
    >>> import engine
    >>> engine.conv_transpose1d_backward_weight([1, 2, 3, 4], [1, 2], (2,), stride=2)
    array([ 7, 10])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward_weight("conv_transpose1d_backward_weight", dy, x,
                                                   weight_shape, output_padding, options)


# ---- 3-D ----------------------------------------------------------------------------------------

def conv_transpose3d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *,
                     stride: Ints = 1, padding: Padding = 0, output_padding: Ints = 0,
                     dilation: Ints = 1, groups: int = 1, activation: Activation | None = None,
                     layout: Layout3d = "NCDHW", out: Array | None = None,
                     algorithm: Algorithm | None = None, backend: Backend | None = None,
                     precision: Precision | None = None) -> Array:
    """Transposed 3-D convolution; arguments as in `conv_transpose2d`, on volumes.

    x is (N, C, D, H, W), (C, D, H, W) or (D, H, W), `weight` (C, out / groups, kd, kh, kw).

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.conv_transpose3d([[[1, 2]]], np.ones((1, 1, 2), int), stride=2)
    array([[[1, 1, 2, 2]]])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed("conv_transpose3d", x, weight, bias, output_padding, activation,
                                   options, out)


def conv_transpose3d_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike, *, stride: Ints = 1,
                              padding: Padding = 0, output_padding: Ints = 0, dilation: Ints = 1,
                              groups: int = 1, layout: Layout3d = "NCDHW",
                              algorithm: Algorithm | None = None, backend: Backend | None = None,
                              precision: Precision | None = None,
                              wrt: Sequence[str] = ("x", "weight", "bias")) -> ConvGradients:
    """Gradients of `conv_transpose3d` (without its activation) for x, weight and bias.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, dy, weight = [[[1, 2]]], [[[1, 2, 3, 4]]], np.ones((1, 1, 2), int)
    >>> dx, dweight, _ = engine.conv_transpose3d_backward(dy, x, weight, stride=2)
    >>> dx, dweight
    (array([[[3, 7]]]), array([[[ 7, 10]]]))
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward("conv_transpose3d_backward", dy, x, weight,
                                            output_padding, options, wrt)


def conv_transpose3d_backward_data(dy: ArrayLike, weight: ArrayLike, x_shape: Sequence[int], *,
                                   stride: Ints = 1, padding: Padding = 0, output_padding: Ints = 0,
                                   dilation: Ints = 1, groups: int = 1, layout: Layout3d = "NCDHW",
                                   algorithm: Algorithm | None = None,
                                   backend: Backend | None = None,
                                   precision: Precision | None = None) -> Array:
    """Gradient of `conv_transpose3d` with respect to x, of which only the shape is needed.

    Examples
    --------
    >>> import engine
    >>> engine.conv_transpose3d_backward_data([[[1, 2, 3, 4]]], [[[1, 1]]], (1, 1, 2), stride=2)
    array([[[3, 7]]])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward_data("conv_transpose3d_backward_data", dy, weight,
                                                 x_shape, output_padding, options)


def conv_transpose3d_backward_weight(dy: ArrayLike, x: ArrayLike, weight_shape: Sequence[int], *,
                                     stride: Ints = 1, padding: Padding = 0,
                                     output_padding: Ints = 0, dilation: Ints = 1, groups: int = 1,
                                     layout: Layout3d = "NCDHW", algorithm: Algorithm | None = None,
                                     backend: Backend | None = None,
                                     precision: Precision | None = None) -> Array:
    """Gradient of `conv_transpose3d` with respect to weight, of which only the shape is needed.

    Examples
    --------
    >>> import engine
    >>> engine.conv_transpose3d_backward_weight([[[1, 2, 3, 4]]], [[[1, 2]]], (1, 1, 2), stride=2)
    array([[[ 7, 10]]])
    """
    options = (stride, padding, dilation, groups, "constant", layout, algorithm, backend,
               precision)
    return _convolution.transposed_backward_weight("conv_transpose3d_backward_weight", dy, x,
                                                   weight_shape, output_padding, options)
