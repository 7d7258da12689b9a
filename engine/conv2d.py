"""2-D convolution (cross-correlation), forward and backward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine import _activation, _check, _check_conv, _pad, _plan, _recall
from engine._axes import to_nchw
from engine._check_conv import Options
from engine._memory import empty_output, output_maker


class Conv2dGradients(NamedTuple):
    """Gradients of a convolution; None for those that were not asked for."""

    dx: np.ndarray | None
    dweight: np.ndarray | None
    dbias: np.ndarray | None


def conv2d(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1,
           padding_mode="constant", activation=None, layout="NCHW", out=None, algorithm=None,
           backend=None):
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
    algorithm : {"direct", "im2col", "winograd"}, optional
        Winograd (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016) takes
        fewer multiplications for 3x3 windows, others sum directly.  None: the fastest.
    backend : {"c", "numba", "numpy"}, optional
        The only backend to use.  None: the first of these that can do it.

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
    op = "conv2d"
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    key = _recall.key(op, (x, weight, bias), (activation, *options))
    call = recalled = _recall.calls.get(key)
    if call is None:
        call, x, weight, bias = _check_conv.forward(op, x, weight, bias, activation,
                                                    Options(*options))
        _recall.keep(key, call, (activation, *options))
    elif (call.again and out is None and x.flags.aligned and weight.flags.aligned
          and (bias is None or bias.flags.aligned)):
        return call.again(x, weight, bias)
    if out is not None:
        _check.output(op, out, call.y_shape, call.problem.dtype, x=x, weight=weight, bias=bias)
    return forward(call, x, weight, bias, out, repeats=recalled is not None)


def forward(call, x, weight, bias, out, *, repeats, run=None):
    """Carry out a checked call by `run` or else its plan; if it `repeats`, find a shorter way."""
    p = call.problem
    image, filters, vector = call.to_kernel(x), call.filters(weight), call.vector(bias)
    as_they_are = image is x and filters is weight and vector is bias
    if call.pads:
        image = _pad.pad(image, call.pads, call.padding_mode)
    y = empty_output(p.y_shape, p.dtype, p.order) if out is None else to_nchw(out, call.layout)
    run = run or _plan.of(call, "forward")
    if repeats and as_they_are and out is None and not (call.pads or call.activation):
        call.again, call.y_strides = _again(call, run, x, weight, bias, y), y.strides
    run(image, filters, vector, y)
    _activation.apply(call.activation, y)
    return call.to_user(y) if out is None else out


def _again(call, run, *arrays):
    """What repeats a call whose arrays kernels can take as they are, into y if that is given."""
    p = call.problem
    run = run.prepare(*arrays) if isinstance(run, _plan.Plan) else run
    new = output_maker(p.y_shape, p.dtype, p.order)

    def again(x, weight, bias, y=None):
        if y is None:
            y = new()
        run(x, weight, bias, y)
        return y

    return again


def conv2d_backward(dy, x, weight, *, stride=1, padding=0, dilation=1, groups=1,
                    padding_mode="constant", layout="NCHW", algorithm=None, backend=None,
                    wrt=("x", "weight", "bias")):
    """Gradients of `conv2d` with respect to x, weight and bias.

    They are those of the convolution alone: where the forward had an `activation`, `dy` must be
    the gradient with respect to what went into the activation.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x, weight : array_like
        What the forward was given.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, backend
        As in `conv2d`.
    wrt : tuple of {"x", "weight", "bias"}
        Which gradients to compute.

    Returns
    -------
    Conv2dGradients
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
    op = "conv2d_backward"
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    wrt = _check_conv.wanted(op, wrt)
    key = _recall.key(op, (dy, x, weight), options)
    call = _recall.calls.get(key)
    if call is None:
        call, dy, x, weight = _check_conv.backward(op, dy, x, weight, Options(*options))
        _recall.keep(key, call, options)
    dy = call.to_kernel(dy)
    return Conv2dGradients(_backward_data(call, dy, weight) if "x" in wrt else None,
                           _backward_weight(call, dy, x) if "weight" in wrt else None,
                           _backward_bias(call, dy) if "bias" in wrt else None)


def conv2d_backward_data(dy, weight, x_shape, *, stride=1, padding=0, dilation=1, groups=1,
                         padding_mode="constant", layout="NCHW", algorithm=None, backend=None):
    """Gradient of `conv2d` with respect to x, which is not needed for it.

    Parameters
    ----------
    dy, weight : array_like
        As in `conv2d_backward`.
    x_shape : tuple of int
        The shape of x: strides can make it ambiguous.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, backend
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
    op = "conv2d_backward_data"
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    key = _recall.key(op, (dy, weight), (x_shape, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, dy, weight = _check_conv.backward_data(op, dy, weight, x_shape, Options(*options))
        _recall.keep(key, call, (x_shape, *options))
    return _backward_data(call, call.to_kernel(dy), weight)


def conv2d_backward_weight(dy, x, weight_shape, *, stride=1, padding=0, dilation=1, groups=1,
                           padding_mode="constant", layout="NCHW", algorithm=None, backend=None):
    """Gradient of `conv2d` with respect to weight, which is not needed for it.

    Parameters
    ----------
    dy, x : array_like
        As in `conv2d_backward`.
    weight_shape : tuple of int
        The shape of weight: strides can make it ambiguous.
    stride, padding, dilation, groups, padding_mode, layout, algorithm, backend
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
    op = "conv2d_backward_weight"
    options = (stride, padding, dilation, groups, padding_mode, layout, algorithm, backend)
    key = _recall.key(op, (dy, x), (weight_shape, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, dy, x = _check_conv.backward_weight(op, dy, x, weight_shape, Options(*options))
        _recall.keep(key, call, (weight_shape, *options))
    return _backward_weight(call, call.to_kernel(dy), x)


def _backward_data(call, dy, weight):
    p = call.problem
    dx = empty_output(p.x_shape, p.dtype, p.order)
    _plan.of(call, "backward_data")(dy, call.filters(weight), dx)
    if call.pads:
        dpadded, dx = dx, empty_output(call.unpadded_shape, p.dtype, p.order)
        _pad.pad_backward(dpadded, call.pads, call.padding_mode, dx)
    return call.to_user(dx)


def _backward_weight(call, dy, x):
    p = call.problem
    image = call.to_kernel(x)
    if call.pads:
        image = _pad.pad(image, call.pads, call.padding_mode)
    dweight = np.empty(p.weight_shape, p.dtype)
    _plan.of(call, "backward_weight")(dy, image, dweight)
    return dweight[0, 0] if call.ndim == 2 else dweight


def _backward_bias(call, dy):
    dbias = np.empty(call.problem.oc, call.problem.dtype)
    _plan.of(call, "backward_bias")(dy, dbias)
    return dbias
