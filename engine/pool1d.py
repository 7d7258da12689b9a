"""1-D pooling with windows of one size at regular steps, forward and backward.

The rules are those of pool2d.py, on one spatial axis.
"""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout1d, Padding, Pooled
from engine._windows import Sliding


def max_pool1d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, layout: Layout1d = "NCL",
               return_indices: bool = False, out: Array | None = None,
               backend: Backend | None = None) -> Pooled:
    """The largest element of every window: of equal ones the first, and NaN before any number.

    It is a `max_pool2d` of images of height 1.

    Parameters
    ----------
    x : array_like
        (N, C, L), (C, L) or a bare line (L,), of any strides.
    kernel_size, stride, dilation : int or (int,)
        As in `max_pool2d`.
    padding : int, (int,), ((before, after),) or str
        As in `max_pool2d`.
    ceil_mode, return_indices, out, backend
        As in `max_pool2d`.
    layout : {"NCL", "NLC"}
        The order of the axes of x and of the results.

    Returns
    -------
    y : ndarray
        (N, C, OL), or without the axes that x does not have.
    indices : ndarray of int64
        Only with `return_indices`: l of every result within its line.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import engine
    >>> engine.max_pool1d([1, 5, 2, 4], 2)
    array([5, 4])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.forward("max_pool1d", "max", x, windows, layout, backend, out, return_indices)


def max_pool1d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, layout: Layout1d = "NCL",
                        indices: ArrayLike | None = None, backend: Backend | None = None) -> Array:
    """Gradient of `max_pool1d`: each element of dy goes to the element of x that was largest.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x : array_like or tuple of int
        What the forward was given; with `indices` its shape is enough.
        A bare line must be an ndarray: a list of integers is a shape.
    kernel_size, stride, padding, dilation, ceil_mode, layout, backend
        As in the forward.
    indices : array_like of int, optional
        Those of the forward; looked for again in x by default.

    Returns
    -------
    ndarray
        Of the shape and memory order of x; its dtype is ``numpy.result_type(dy, x)``.

    Raises
    ------
    TypeError, ValueError
        As `max_pool1d`; also for indices outside the line.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.max_pool1d_backward([7, 8], np.array([1, 5, 2, 4]), 2)
    array([0, 7, 0, 8])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.backward("max_pool1d_backward", "max", dy, x, windows, layout, backend, indices)


def min_pool1d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, layout: Layout1d = "NCL",
               return_indices: bool = False, out: Array | None = None,
               backend: Backend | None = None) -> Pooled:
    """The smallest element of every window; everything else as in `max_pool1d`.

    Examples
    --------
    >>> import engine
    >>> engine.min_pool1d([1, 5, 2, 4], 2)
    array([1, 2])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.forward("min_pool1d", "min", x, windows, layout, backend, out, return_indices)


def min_pool1d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, layout: Layout1d = "NCL",
                        indices: ArrayLike | None = None, backend: Backend | None = None) -> Array:
    """Gradient of `min_pool1d`; arguments and result as in `max_pool1d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.min_pool1d_backward([7, 8], (4,), 2, indices=[0, 2])
    array([7, 0, 8, 0])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.backward("min_pool1d_backward", "min", dy, x, windows, layout, backend, indices)


def avg_pool1d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, count_include_pad: bool = True,
               layout: Layout1d = "NCL", out: Array | None = None,
               backend: Backend | None = None) -> Array:
    """The mean of every window; arguments as in `max_pool1d` and `avg_pool2d`.

    The result is float64 where x has integers.

    Examples
    --------
    >>> import engine
    >>> engine.avg_pool1d([1, 5, 2, 4], 2)
    array([3., 3.])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _pooling.forward("avg_pool1d", "avg", x, windows, layout, backend, out)


def avg_pool1d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, count_include_pad: bool = True,
                        layout: Layout1d = "NCL", backend: Backend | None = None) -> Array:
    """Gradient of `avg_pool1d`: each element of dy spreads evenly over its window.

    x may be an array or its shape; all else is as in the forward.

    Examples
    --------
    >>> import engine
    >>> engine.avg_pool1d_backward([2.0, 4.0], (4,), 2)
    array([1., 1., 2., 2.])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _pooling.backward("avg_pool1d_backward", "avg", dy, x, windows, layout, backend)


def lp_pool1d(x: ArrayLike, kernel_size: Ints, *, p: float = 2, stride: Ints | None = None,
              padding: Padding = 0, dilation: Ints = 1, ceil_mode: bool = False,
              layout: Layout1d = "NCL", out: Array | None = None,
              backend: Backend | None = None) -> Array:
    """The p-norm of every window; arguments as in `max_pool1d`, `p` as in `lp_pool2d`.

    The result is float64 where x has integers.

    Examples
    --------
    >>> import engine
    >>> engine.lp_pool1d([3, 4], 2)
    array([5.])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, p=p)
    return _pooling.forward("lp_pool1d", "lp", x, windows, layout, backend, out)


def lp_pool1d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *, p: float = 2,
                       stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                       ceil_mode: bool = False, layout: Layout1d = "NCL",
                       backend: Backend | None = None) -> Array:
    """Gradient of `lp_pool1d`: ``dy * sign(x) * (abs(x) / y) ** (p - 1)``, 0 where y is 0.

    Examples
    --------
    >>> import engine
    >>> engine.lp_pool1d_backward([5.0], [3.0, -4.0], 2)
    array([ 3., -4.])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, p=p)
    return _pooling.backward("lp_pool1d_backward", "lp", dy, x, windows, layout, backend)
