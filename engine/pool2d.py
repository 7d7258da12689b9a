"""2-D pooling with windows of one size at regular steps, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout2d, Padding, Pooled
from engine._windows import Sliding


def max_pool2d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, layout: Layout2d = "NCHW",
               return_indices: bool = False, out: Array | None = None,
               backend: Backend | None = None) -> Pooled:
    """The largest element of every window.

    Padding is absent, never a value: it cannot win.  Of equal elements the first in C order
    wins, and a NaN wins over every number.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), one image (C, H, W) or a bare plane (H, W), of any strides.
    kernel_size : int or (int, int)
        Height and width of a window.
    stride : int or (int, int), optional
        Steps of the window; `kernel_size` by default.
    padding : int, (int, int), ((top, bottom), (left, right)) or str
        As in `conv2d`.  No window may lie wholly in the padding.
    dilation : int or (int, int)
        Steps between the elements of a window.
    ceil_mode : bool
        Whether a last window may hang over the end, if it starts on x or the padding before it.
    layout : {"NCHW", "NHWC"}
        The order of the axes of x and of the results.
    return_indices : bool
        Also return where each result was found.
    out : ndarray, optional
        Where to write the result: of exactly its shape and dtype, and not overlapping x.
    backend : {"c", "numba", "numpy", "cuda"}, optional
        The only backend to use.  None: the first of "c", "numba" and "numpy" that can do it, and
        "cuda" for CUDA arrays.

    Returns
    -------
    y : ndarray
        (N, C, OH, OW), or without the axes that x does not have, in the dtype and memory order of
        x; OH = floor((H + pad - dilation * (kh - 1) - 1) / stride) + 1, ceil with `ceil_mode`.
    indices : ndarray of int64
        Only with `return_indices`: h * W + w of every result within its plane.

    Raises
    ------
    TypeError
        For an argument or a dtype of the wrong type.
    ValueError
        For shapes or values that do not fit, and if no allowed backend can do it.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.max_pool2d(np.arange(16).reshape(4, 4), 2)
    array([[ 5,  7],
           [13, 15]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.forward("max_pool2d", "max", x, windows, layout, backend, out, return_indices)


def max_pool2d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, layout: Layout2d = "NCHW",
                        indices: ArrayLike | None = None, backend: Backend | None = None) -> Array:
    """Gradient of `max_pool2d`: each element of dy goes to the element of x that was largest.

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
        As `max_pool2d`; also for indices outside the plane.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.max_pool2d_backward([[1.0]], [[1.0, 3.0], [3.0, 2.0]], 2)
    array([[0., 1.],
           [0., 0.]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.backward("max_pool2d_backward", "max", dy, x, windows, layout, backend, indices)


def min_pool2d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, layout: Layout2d = "NCHW",
               return_indices: bool = False, out: Array | None = None,
               backend: Backend | None = None) -> Pooled:
    """The smallest element of every window; everything else as in `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.min_pool2d(np.arange(16).reshape(4, 4), 2)
    array([[ 0,  2],
           [ 8, 10]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.forward("min_pool2d", "min", x, windows, layout, backend, out, return_indices)


def min_pool2d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, layout: Layout2d = "NCHW",
                        indices: ArrayLike | None = None, backend: Backend | None = None) -> Array:
    """Gradient of `min_pool2d`; arguments and result as in `max_pool2d_backward`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.min_pool2d_backward([[1.0]], (2, 2), 2, indices=[[3]])
    array([[0., 0.],
           [0., 1.]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode)
    return _pooling.backward("min_pool2d_backward", "min", dy, x, windows, layout, backend, indices)


def avg_pool2d(x: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None, padding: Padding = 0,
               dilation: Ints = 1, ceil_mode: bool = False, count_include_pad: bool = True,
               layout: Layout2d = "NCHW", out: Array | None = None,
               backend: Backend | None = None) -> Array:
    """The mean of every window.

    Parameters
    ----------
    x, kernel_size, stride, padding, dilation, ceil_mode, layout, out, backend
        As in `max_pool2d`.
    count_include_pad : bool
        Whether padding counts in the divisor (as zeros, then).  What hangs over the padded input
        with `ceil_mode` never does.

    Returns
    -------
    ndarray
        As `max_pool2d`; float64 where x has integers, as `numpy.mean`.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.avg_pool2d(np.arange(16).reshape(4, 4), 2)
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _pooling.forward("avg_pool2d", "avg", x, windows, layout, backend, out)


def avg_pool2d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *,
                        stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                        ceil_mode: bool = False, count_include_pad: bool = True,
                        layout: Layout2d = "NCHW", backend: Backend | None = None) -> Array:
    """Gradient of `avg_pool2d`: each element of dy spreads evenly over its window.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x : array_like or tuple of int
        What the forward was given, or its shape.
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, layout, backend
        As in the forward.

    Returns
    -------
    ndarray
        Of the shape of x; float64 for integers.

    Raises
    ------
    TypeError, ValueError
        As `avg_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.avg_pool2d_backward([[1.0]], (2, 2), 2)
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, count_include_pad)
    return _pooling.backward("avg_pool2d_backward", "avg", dy, x, windows, layout, backend)


def lp_pool2d(x: ArrayLike, kernel_size: Ints, *, p: float = 2, stride: Ints | None = None,
              padding: Padding = 0, dilation: Ints = 1, ceil_mode: bool = False,
              layout: Layout2d = "NCHW", out: Array | None = None,
              backend: Backend | None = None) -> Array:
    """The p-norm of every window: ``sum(abs(x) ** p) ** (1 / p)``; padding adds nothing.

    Parameters
    ----------
    x, kernel_size, stride, padding, dilation, ceil_mode, layout, out, backend
        As in `max_pool2d`.
    p : float
        The exponent, finite and at least 1.

    Returns
    -------
    ndarray
        As `max_pool2d`; float64 where x has integers.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.lp_pool2d(np.array([[3.0, 4.0]]), (1, 2))
    array([[5.]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, p=p)
    return _pooling.forward("lp_pool2d", "lp", x, windows, layout, backend, out)


def lp_pool2d_backward(dy: ArrayLike, x: ArrayLike, kernel_size: Ints, *, p: float = 2,
                       stride: Ints | None = None, padding: Padding = 0, dilation: Ints = 1,
                       ceil_mode: bool = False, layout: Layout2d = "NCHW",
                       backend: Backend | None = None) -> Array:
    """Gradient of `lp_pool2d`: ``dy * sign(x) * (abs(x) / y) ** (p - 1)``, 0 where y is 0.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to the result of the forward, of its shape.
    x : array_like
        What the forward was given.
    kernel_size, p, stride, padding, dilation, ceil_mode, layout, backend
        As in the forward.

    Returns
    -------
    ndarray
        Of the shape of x; float64 for integers.

    Raises
    ------
    TypeError, ValueError
        As `lp_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.lp_pool2d_backward([[5.0]], [[3.0, -4.0]], (1, 2))
    array([[ 3., -4.]])
    """
    windows = Sliding(kernel_size, stride, padding, dilation, ceil_mode, p=p)
    return _pooling.backward("lp_pool2d_backward", "lp", dy, x, windows, layout, backend)
