"""2-D pooling to a given output size, forward and backward.

Window i of n covers floor(i * size / n) up to, not including, ceil((i + 1) * size / n): windows
may overlap by one element, and differ by one in size.
"""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout2d, Pooled
from engine._windows import Adaptive


def adaptive_max_pool2d(x: ArrayLike, output_size: Ints, *, layout: Layout2d = "NCHW",
                        return_indices: bool = False, out: Array | None = None,
                        backend: Backend | None = None) -> Pooled:
    """The largest element of every window, of as many windows as are asked for.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), (C, H, W) or (H, W), of any strides.
    output_size : int or (int or None, int or None)
        Height and width of the result; None keeps that of x.
    layout, return_indices, out, backend
        As in `max_pool2d`.

    Returns
    -------
    y : ndarray
        (N, C, *output_size), or without the axes that x does not have.
    indices : ndarray of int64
        Only with `return_indices`: h * W + w of every result within its plane.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.adaptive_max_pool2d(np.arange(12).reshape(3, 4), 2)
    array([[ 5,  7],
           [ 9, 11]])
    """
    return _pooling.forward("adaptive_max_pool2d", "max", x, Adaptive(output_size), layout,
                            backend, out, return_indices)


def adaptive_max_pool2d_backward(dy: ArrayLike, x: ArrayLike, output_size: Ints, *,
                                 layout: Layout2d = "NCHW", indices: ArrayLike | None = None,
                                 backend: Backend | None = None) -> Array:
    """Gradient of `adaptive_max_pool2d`; arguments and result as in `max_pool2d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.adaptive_max_pool2d_backward([[5]], [[1, 2, 0]], 1)
    array([[0, 5, 0]])
    """
    return _pooling.backward("adaptive_max_pool2d_backward", "max", dy, x, Adaptive(output_size),
                             layout, backend, indices)


def adaptive_avg_pool2d(x: ArrayLike, output_size: Ints, *, layout: Layout2d = "NCHW",
                        out: Array | None = None, backend: Backend | None = None) -> Array:
    """The mean of every window, of as many windows as are asked for.

    Parameters
    ----------
    x, output_size, layout, out, backend
        As in `adaptive_max_pool2d`.

    Returns
    -------
    ndarray
        (N, C, *output_size), or without the axes that x does not have; float64 for integers.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.adaptive_avg_pool2d(np.arange(12).reshape(3, 4), (1, None))
    array([[4., 5., 6., 7.]])
    """
    return _pooling.forward("adaptive_avg_pool2d", "avg", x, Adaptive(output_size), layout,
                            backend, out)


def adaptive_avg_pool2d_backward(dy: ArrayLike, x: ArrayLike, output_size: Ints, *,
                                 layout: Layout2d = "NCHW",
                                 backend: Backend | None = None) -> Array:
    """Gradient of `adaptive_avg_pool2d`; x may be an array or its shape.

    Examples
    --------
    >>> import engine
    >>> engine.adaptive_avg_pool2d_backward([[2.0, 4.0]], (1, 3), (1, 2))
    array([[1., 3., 2.]])
    """
    return _pooling.backward("adaptive_avg_pool2d_backward", "avg", dy, x, Adaptive(output_size),
                             layout, backend)
