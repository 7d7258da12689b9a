"""3-D pooling with windows of one size at regular steps, forward and backward.

The rules are those of pool2d.py, on three spatial axes.
"""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout3d, Padding, Pooled
from engine._windows import Sliding


def max_pool3d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, layout: Layout3d = "NCDHW",
               return_indices: bool = False, out: Array | None = None,
               backend: Backend | None = None) -> Pooled:
    """The largest element of every window: of equal ones the first, and NaN before any number.

    Planes are pooled first, then what came out along the depth, by the kernels of `max_pool2d`.

    Parameters
    ----------
    x : array_like
        (N, C, D, H, W), (C, D, H, W) or a bare volume (D, H, W), of any strides.
    kernel_size, stride, dilation : int or (int, int, int)
        As in `max_pool2d`.
    padding : int, (int, int, int), three pairs (before, after) or str
        As in `max_pool2d`.
    ceil_mode, return_indices, out, backend
        As in `max_pool2d`.
    layout : {"NCDHW", "NDHWC"}
        The order of the axes of x and of the results.

    Returns
    -------
    y : ndarray
        (N, C, OD, OH, OW), or without the axes that x does not have.
    indices : ndarray of int64
        Only with `return_indices`: (d * H + h) * W + w of every result within its volume.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.max_pool3d(np.arange(16).reshape(2, 2, 4), 2)
    array([[[13, 15]]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.forward("max_pool3d", "max", x, windows, layout, backend, out, return_indices)


def max_pool3d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, layout: Layout3d = "NCDHW",
                        indices: ArrayLike | None = None, backend: Backend | None = None) -> Array:
    """Gradient of `max_pool3d`: each element of dy goes to the element of x that was largest.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x : array_like or tuple of int
        What the forward was given; with `indices` its shape is enough.
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
        As `max_pool3d`; also for indices outside the volume.

    Examples
    --------
    >>> import engine
    >>> engine.max_pool3d_backward([[[9]]], [[[1, 3]], [[3, 2]]], (2, 1, 2))
    array([[[0, 9]],
    <BLANKLINE>
           [[0, 0]]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.backward("max_pool3d_backward", "max", dy, x, windows, layout, backend, indices)


def min_pool3d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, layout: Layout3d = "NCDHW",
               return_indices: bool = False, out: Array | None = None,
               backend: Backend | None = None) -> Pooled:
    """The smallest element of every window; everything else as in `max_pool3d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.min_pool3d(np.arange(16).reshape(2, 2, 4), 2)
    array([[[0, 2]]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.forward("min_pool3d", "min", x, windows, layout, backend, out, return_indices)


def min_pool3d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, layout: Layout3d = "NCDHW",
                        indices: ArrayLike | None = None, backend: Backend | None = None) -> Array:
    """Gradient of `min_pool3d`; arguments and result as in `max_pool3d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.min_pool3d_backward([[[9]]], (2, 1, 2), (2, 1, 2), indices=[[[2]]])
    array([[[0, 0]],
    <BLANKLINE>
           [[9, 0]]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.backward("min_pool3d_backward", "min", dy, x, windows, layout, backend, indices)


def avg_pool3d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, count_include_pad: bool = True,
               layout: Layout3d = "NCDHW", out: Array | None = None,
               backend: Backend | None = None) -> Array:
    """The mean of every window; arguments as in `max_pool3d` and `avg_pool2d`.

    The result is float64 where x has integers.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.avg_pool3d(np.arange(16).reshape(2, 2, 4), 2)
    array([[[6.5, 8.5]]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _pooling.forward("avg_pool3d", "avg", x, windows, layout, backend, out)


def avg_pool3d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, count_include_pad: bool = True,
                        layout: Layout3d = "NCDHW", backend: Backend | None = None) -> Array:
    """Gradient of `avg_pool3d`: each element of dy spreads evenly over its window.

    x may be an array or its shape; all else is as in the forward.

    Examples
    --------
    >>> import engine
    >>> engine.avg_pool3d_backward([[[2.0]]], (1, 2, 2), (1, 2, 2))
    array([[[0.5, 0.5],
            [0.5, 0.5]]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _pooling.backward("avg_pool3d_backward", "avg", dy, x, windows, layout, backend)


def lp_pool3d(x: ArrayLike, kernel_size: Ints, *, p: float = 2, stride: Ints | None = None,
              padding: Padding = 0, dilation: Ints = 1, ceil_mode: bool = False,
              layout: Layout3d = "NCDHW", out: Array | None = None,
              backend: Backend | None = None) -> Array:
    """The p-norm of every window; arguments as in `max_pool3d`, `p` as in `lp_pool2d`.

    The result is float64 where x has integers.

    Examples
    --------
    >>> import engine
    >>> engine.lp_pool3d([[[3, 0]], [[0, 4]]], (2, 1, 2))
    array([[[5.]]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, p=p)
    return _pooling.forward("lp_pool3d", "lp", x, windows, layout, backend, out)


def lp_pool3d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *, p: float = 2,
                       stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                       ceil_mode: bool = False, layout: Layout3d = "NCDHW",
                       backend: Backend | None = None) -> Array:
    """Gradient of `lp_pool3d`: ``dy * sign(x) * (abs(x) / y) ** (p - 1)``, 0 where y is 0.

    Examples
    --------
    >>> import engine
    >>> engine.lp_pool3d_backward([[[5.0]]], [[[3.0, -4.0]]], (1, 1, 2))
    array([[[ 3., -4.]]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, p=p)
    return _pooling.backward("lp_pool3d_backward", "lp", dy, x, windows, layout, backend)
