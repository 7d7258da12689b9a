"""2-D convolution (cross-correlation), forward and backward."""

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
    Layout2d,
    Padding,
    PaddingMode,
    Precision,
)


def conv2d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, stride: Ints = 1,
           padding: Padding = 0, dilation: Ints = 1, groups: int = 1,
           padding_mode: PaddingMode = "constant", activation: Activation | None = None,
           layout: Layout2d = "NCHW", out: Array | None = None, algorithm: Algorithm | None = None,
           backend: Backend | None = None, precision: Precision | None = None) -> Array:
    """2-D convolution, as the frameworks mean it: cross-correlation, the kernel is not flipped.

    ``y[n, o, i, j] = bias[o] + sum over c, r, s of
    x[n, c, i * stride + r * dilation - pad, j * ...] * weight[o, c, r, s]``,
    where c runs over the channels of the group of o and x is `padding_mode` outside its bounds.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), one image (C, H, W), or a bare plane (H, W); N may be 0.  Any strides: the
        result gets the memory order of x, so channels-last memory (a transposed view) stays so.
    weight : array_like
        (out, C / groups, kh, kw) of any strides, or (kh, kw) where x is a bare plane.
    bias : array_like, optional
        (out,); for a bare plane also a bare number.  Cast to the dtype of the result.
    stride, dilation : int or (int, int)
        Steps of the window and between its elements, at least 1, along height and width.
    padding : int, (int, int), ((top, bottom), (left, right)) or str
        What is added around x: "valid" nothing, "same" what gives ceil(size / stride) results
        with the odd one at the end (TensorFlow), "same_lower" the odd one in front (ONNX),
        "full" every position at which window and x overlap.
    groups : int
        Input and output channels are split into that many groups, which do not meet.
    padding_mode : {"constant", "reflect", "edge", "wrap"}
        What is added, as `numpy.pad` calls it; "constant" adds zeros.
    activation : {"relu", "relu6", "tanh", "sigmoid"}, optional
        Applied to the result; "relu" costs nothing.
    layout : {"NCHW", "NHWC"}
        The order of the axes of x and of the result, no more.  `weight` keeps its own.
    out : ndarray, optional
        Where to write the result: of exactly its shape and dtype, any strides, and not
        overlapping an input.
    algorithm : {"direct", "im2col", "winograd", "bf16x6"}, optional
        "direct" and "im2col" sum products as they are.  "winograd" (Lavin & Gray, "Fast Algorithms
        for Convolutional Neural Networks", 2016) takes fewer multiplications for 3x3 windows.
        "bf16x6" multiplies float32 numbers as sums of three bfloat16 on the tiles of AMX (Henry,
        Tang & Heinecke, ARITH 2019) and sums in float32.  With the last two an infinity can become
        NaN.  None: the fastest for the geometry; in float32 the errors of all are at the level of a
        plain sum.  In float64 those of Winograd, where it saves much, are up to ten times those of
        "direct".
    backend : {"c", "numba", "numpy", "cuda"}, optional
        The only backend to use.  None: the first of "c", "numba" and "numpy" that can do it, and
        "cuda" for CUDA arrays (CuPy, torch, any with ``__cuda_array_interface__`` or DLPack), whose
        result is one of their kind.
    precision : {"fp32", "fp32x3", "tf32", "bf16", "fp16"}, optional
        What float32 numbers may be multiplied as on CUDA; sums are float32.  "fp32x3" is three
        products of TF32 parts on tensor cores, with errors at the level of "fp32".  None: "fp32".
        Other backends multiply as they are.

    Returns
    -------
    ndarray
        (N, out, OH, OW) with OH = floor((H + pad - dilation * (kh - 1) - 1) / stride) + 1, or
        without the axes that x does not have.  dtype is ``numpy.result_type(x, weight)``: float32
        and float64 are summed as such, float16 and bfloat16 in float32, integers exactly modulo
        2**bits.

    Raises
    ------
    TypeError
        For an argument or a dtype of the wrong type (bool and complex among them).
    ValueError
        For shapes or values that do not fit, and if no allowed backend can do it; the message
        then has the reason of each.
    MemoryError
        Before more scratch is taken than ENGINE_WORKSPACE_LIMIT allows.

    Notes
    -----
    N * out * OH * OW * (C / groups) * kh * kw multiply-adds.  The result for one image depends
    neither on the other images of the batch nor on the number of threads, bit for bit.
    Subnormal numbers may count as zeros: as such they cost nothing extra.

    Examples
    --------
    A horizontal edge, found by a filter:

    >>> import numpy as np, engine
    >>> image = np.repeat([0, 255], 3)[:, None] * np.ones(6, int)
    >>> engine.conv2d(image, [[-1, -1, -1], [0, 0, 0], [1, 1, 1]])
    array([[  0,   0,   0,   0],
           [765, 765, 765, 765],
           [765, 765, 765, 765],
           [  0,   0,   0,   0]])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.forward("conv2d", x, weight, bias, activation, options, out)


def conv2d_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike, *, stride: Ints = 1,
                    padding: Padding = 0, dilation: Ints = 1, groups: int = 1,
                    padding_mode: PaddingMode = "constant", layout: Layout2d = "NCHW",
                    algorithm: Algorithm | None = None, backend: Backend | None = None,
                    precision: Precision | None = None,
                    wrt: Sequence[str] = ("x", "weight", "bias")) -> ConvGradients:
    """Gradients of `conv2d` with respect to x, weight and bias.

    They are those of the convolution alone: where the forward had an `activation`, `dy` must be
    the gradient with respect to what went into the activation.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x, weight : array_like
        What the forward was given.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, backend, precision
        As in `conv2d`.
    wrt : tuple of {"x", "weight", "bias"}
        Which gradients to compute.

    Returns
    -------
    ConvGradients
        A named tuple (dx, dweight, dbias), None for those not in `wrt`.  dx has the shape and
        memory order of x, dweight the shape of weight, dbias is (out,); their dtype is
        ``numpy.result_type(dy, x, weight)``.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> x, weight = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> dx, dweight, dbias = engine.conv2d_backward(np.ones((1, 1, 2, 2)), x, weight)
    >>> dx[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    >>> dweight[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    >>> dbias
    array([4.])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward("conv2d_backward", dy, x, weight, options, wrt)


def conv2d_backward_data(dy: ArrayLike, weight: ArrayLike, x_shape: Sequence[int], *,
                         stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1,
                         groups: int = 1, padding_mode: PaddingMode = "constant",
                         layout: Layout2d = "NCHW", algorithm: Algorithm | None = None,
                         backend: Backend | None = None,
                         precision: Precision | None = None) -> Array:
    """Gradient of `conv2d` with respect to x, which is not needed for it.

    Parameters
    ----------
    dy, weight : array_like
        As in `conv2d_backward`.
    x_shape : tuple of int
        The shape of x: strides can make it ambiguous.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, backend, precision
        As in `conv2d`.

    Returns
    -------
    ndarray
        Of `x_shape`, in the memory order of dy.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.conv2d_backward_data(np.ones((2, 2)), np.array([[1., 2.]]), (2, 3))
    array([[1., 3., 2.],
           [1., 3., 2.]])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward_data("conv2d_backward_data", dy, weight, x_shape, options)


def conv2d_backward_weight(dy: ArrayLike, x: ArrayLike, weight_shape: Sequence[int], *,
                           stride: Ints = 1, padding: Padding = 0, dilation: Ints = 1,
                           groups: int = 1, padding_mode: PaddingMode = "constant",
                           layout: Layout2d = "NCHW", algorithm: Algorithm | None = None,
                           backend: Backend | None = None,
                           precision: Precision | None = None) -> Array:
    """Gradient of `conv2d` with respect to weight, which is not needed for it.

    Parameters
    ----------
    dy, x : array_like
        As in `conv2d_backward`.
    weight_shape : tuple of int
        The shape of weight: strides can make it ambiguous.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, backend, precision
        As in `conv2d`.

    Returns
    -------
    ndarray
        Of `weight_shape`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.conv2d_backward_weight(np.ones((2, 2)), np.arange(6.0).reshape(2, 3), (1, 2))
    array([[ 8., 12.]])
    """
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend,
               precision)
    return _convolution.backward_weight("conv2d_backward_weight", dy, x, weight_shape, options)
