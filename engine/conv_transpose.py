"""Transposed convolution, forward and backward: the backward-data of a convolution and its own."""

from __future__ import annotations

import numpy as np

from engine import _activation, _check, _check_conv, _plan, _recall
from engine._axes import to_nchw
from engine._check_conv import Options
from engine._memory import empty_output
from engine._problem import Conv2dProblem
from engine.conv2d import Conv2dGradients


def conv_transpose2d(x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1,
                     groups=1, activation=None, layout="NCHW", out=None, algorithm=None,
                     backend=None):
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
    activation, layout, out, algorithm, backend
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
    op = "conv_transpose2d"
    options = Options(stride, padding, dilation, groups, "constant", layout, algorithm, backend)
    key = _recall.key(op, (x, weight, bias), (activation, output_padding, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, x, weight, bias = _check_conv.transposed_forward(op, x, weight, bias, activation,
                                                               output_padding, options)
        _recall.keep(key, call, (activation, output_padding, *options))
    p = call.problem  # of the convolution that this is the backward-data of: its x is our y
    if out is not None:
        _check.output(op, out, call.x_shape, p.dtype, x=x, weight=weight, bias=bias)
    y = empty_output(p.x_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    _plan.of(call, "backward_data")(call.to_kernel(x), call.filters(weight), y)
    if bias is not None:
        np.add(y, call.vector(bias)[:, None, None], out=y)
    _activation.apply(call.activation, y)
    return call.to_user(y) if out is None else out


def conv_transpose2d_backward(dy, x, weight, *, stride=1, padding=0, output_padding=0, dilation=1,
                              groups=1, layout="NCHW", algorithm=None, backend=None,
                              wrt=("x", "weight", "bias")):
    """Gradients of `conv_transpose2d` (without its activation) for x, weight and bias.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x, weight : array_like
        What the forward was given.
    stride, padding, output_padding, dilation, groups, layout, algorithm, backend
        As in `conv_transpose2d`.
    wrt : tuple of {"x", "weight", "bias"}
        Which gradients to compute.

    Returns
    -------
    Conv2dGradients
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
    op = "conv_transpose2d_backward"
    wrt = _check_conv.wanted(op, wrt)
    options = Options(stride, padding, dilation, groups, "constant", layout, algorithm, backend)
    key = _recall.key(op, (dy, x, weight), (output_padding, *options))
    call = _recall.calls.get(key)
    if call is None:
        call, dy, x, weight = _check_conv.transposed_backward(op, dy, x, weight, output_padding,
                                                              options)
        _recall.keep(key, call, (output_padding, *options))
    dy = call.to_kernel(dy)
    return Conv2dGradients(_backward_data(call, dy, weight) if "x" in wrt else None,
                           _backward_weight(call, dy, x) if "weight" in wrt else None,
                           _backward_bias(call, dy) if "bias" in wrt else None)


def _backward_data(call, dy, weight):
    p = call.problem
    dx = empty_output(p.y_shape, p.dtype, p.order)
    _plan.of(call, "forward")(dy, call.filters(weight), None, dx)
    return call.to_user(dx)


def _backward_weight(call, dy, x):
    p = call.problem
    dweight = np.empty(p.weight_shape, p.dtype)
    _plan.of(call, "backward_weight")(call.to_kernel(x), dy, dweight)
    return dweight[0, 0] if call.ndim == 2 else dweight


def _backward_bias(call, dy):
    n, c, h, w = dy.shape
    p = Conv2dProblem(n=n, g=1, ic=c, ih=h, iw=w, oc=c, oh=h, ow=w, kh=1, kw=1,
                      dtype=call.problem.dtype, order=call.problem.order)
    dbias = np.empty(c, p.dtype)
    _plan.choose("conv2d", p, "backward_bias", None, call.backend)(dy, dbias)
    return dbias
