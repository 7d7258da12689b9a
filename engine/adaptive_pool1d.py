"""1-D pooling to a given output size, forward and backward; see adaptive_pool2d.py."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout1d, Pooled
from engine._windows import Adaptive


def adaptive_max_pool1d(x: ArrayLike, output_size: Ints, *, layout: Layout1d = "NCL",
                        return_indices: bool = False, out: Array | None = None,
                        backend: Backend | None = None) -> Pooled:
    """The largest element of every window, of as many windows as are asked for.

    Parameters
    ----------
    x : array_like
        (N, C, L), (C, L) or a bare line (L,), of any strides.
    output_size : int or (int or None,)
        Length of the result; None keeps that of x.
    layout, return_indices, out, backend
        As in `max_pool1d`.

    Returns
    -------
    y : ndarray
        (N, C, *output_size), or without the axes that x does not have.
    indices : ndarray of int64
        Only with `return_indices`: l of every result within its line.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import engine
    >>> engine.adaptive_max_pool1d([1, 5, 2, 4, 3], 2)
    array([5, 4])
    """
    return _pooling.forward("adaptive_max_pool1d", "max", x, Adaptive(output_size), layout,
                            backend, out, return_indices)


def adaptive_max_pool1d_backward(dy: ArrayLike, x: ArrayLike, output_size: Ints, *,
                                 layout: Layout1d = "NCL", indices: ArrayLike | None = None,
                                 backend: Backend | None = None) -> Array:
    """Gradient of `adaptive_max_pool1d`; arguments and result as in `max_pool1d_backward`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.adaptive_max_pool1d_backward([7], np.array([1, 2, 0]), 1)
    array([0, 7, 0])
    """
    return _pooling.backward("adaptive_max_pool1d_backward", "max", dy, x, Adaptive(output_size),
                             layout, backend, indices)


def adaptive_avg_pool1d(x: ArrayLike, output_size: Ints, *, layout: Layout1d = "NCL",
                        out: Array | None = None, backend: Backend | None = None) -> Array:
    """The mean of every window; arguments as in `adaptive_max_pool1d`.

    Examples
    --------
    >>> import engine
    >>> engine.adaptive_avg_pool1d([0, 1, 2, 3], 2)
    array([0.5, 2.5])
    """
    return _pooling.forward("adaptive_avg_pool1d", "avg", x, Adaptive(output_size), layout,
                            backend, out)


def adaptive_avg_pool1d_backward(dy: ArrayLike, x: ArrayLike, output_size: Ints, *,
                                 layout: Layout1d = "NCL", backend: Backend | None = None) -> Array:
    """Gradient of `adaptive_avg_pool1d`; x may be an array or its shape.

    Examples
    --------
    >>> import engine
    >>> engine.adaptive_avg_pool1d_backward([2.0, 4.0], (3,), 2)
    array([1., 3., 2.])
    """
    return _pooling.backward("adaptive_avg_pool1d_backward", "avg", dy, x, Adaptive(output_size),
                             layout, backend)
