"""2-D pooling over the whole plane, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Layout2d, Pooled
from engine._windows import Whole


def global_max_pool2d(x: ArrayLike, *, layout: Layout2d = "NCHW", return_indices: bool = False,
                      out: Array | None = None, backend: Backend | None = None) -> Pooled:
    """The largest element of every plane: `max_pool2d` with a window as large as the plane.

    Parameters
    ----------
    x, layout, return_indices, out, backend
        As in `max_pool2d`.

    Returns
    -------
    y : ndarray
        (N, C, 1, 1), or without the axes that x does not have.
    indices : ndarray of int64
        Only with `return_indices`: h * W + w of every result within its plane.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import engine
    >>> engine.global_max_pool2d([[1, 5], [3, 2]])
    array([[5]])
    """
    return _pooling.forward("global_max_pool2d", "max", x, Whole(), layout, backend, out,
                            return_indices)


def global_max_pool2d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout2d = "NCHW",
                               indices: ArrayLike | None = None,
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_max_pool2d`; arguments and result as in `max_pool2d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.global_max_pool2d_backward([[9]], [[1, 5], [3, 2]])
    array([[0, 9],
           [0, 0]])
    """
    return _pooling.backward("global_max_pool2d_backward", "max", dy, x, Whole(), layout, backend,
                             indices)


def global_min_pool2d(x: ArrayLike, *, layout: Layout2d = "NCHW", return_indices: bool = False,
                      out: Array | None = None, backend: Backend | None = None) -> Pooled:
    """The smallest element of every plane: `min_pool2d` with a window as large as the plane.

    Parameters
    ----------
    x, layout, return_indices, out, backend
        As in `min_pool2d`.

    Returns
    -------
    y : ndarray
        (N, C, 1, 1), or without the axes that x does not have.
    indices : ndarray of int64
        Only with `return_indices`: h * W + w of every result within its plane.

    Raises
    ------
    TypeError, ValueError
        As `min_pool2d`.

    Examples
    --------
    >>> import engine
    >>> engine.global_min_pool2d([[1, 5], [3, 2]])
    array([[1]])
    """
    return _pooling.forward("global_min_pool2d", "min", x, Whole(), layout, backend, out,
                            return_indices)


def global_min_pool2d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout2d = "NCHW",
                               indices: ArrayLike | None = None,
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_min_pool2d`; arguments and result as in `min_pool2d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.global_min_pool2d_backward([[9]], [[1, 5], [3, 2]])
    array([[9, 0],
           [0, 0]])
    """
    return _pooling.backward("global_min_pool2d_backward", "min", dy, x, Whole(), layout, backend,
                             indices)


def global_avg_pool2d(x: ArrayLike, *, layout: Layout2d = "NCHW", out: Array | None = None,
                      backend: Backend | None = None) -> Array:
    """The mean of every plane: `avg_pool2d` with a window as large as the plane.

    Parameters
    ----------
    x, layout, out, backend
        As in `avg_pool2d`.

    Returns
    -------
    ndarray
        (N, C, 1, 1), or without the axes that x does not have; float64 for integers.

    Raises
    ------
    TypeError, ValueError
        As `avg_pool2d`.

    Examples
    --------
    >>> import engine
    >>> engine.global_avg_pool2d([[1, 5], [3, 2]])
    array([[2.75]])
    """
    return _pooling.forward("global_avg_pool2d", "avg", x, Whole(), layout, backend, out)


def global_avg_pool2d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout2d = "NCHW",
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_avg_pool2d`; x may be an array or its shape.

    Examples
    --------
    >>> import engine
    >>> engine.global_avg_pool2d_backward([[8.0]], (2, 2))
    array([[2., 2.],
           [2., 2.]])
    """
    return _pooling.backward("global_avg_pool2d_backward", "avg", dy, x, Whole(), layout, backend)


def global_lp_pool2d(x: ArrayLike, *, p: float = 2, layout: Layout2d = "NCHW",
                     out: Array | None = None, backend: Backend | None = None) -> Array:
    """The p-norm of every plane: `lp_pool2d` with a window as large as the plane.

    Parameters
    ----------
    x, p, layout, out, backend
        As in `lp_pool2d`.

    Returns
    -------
    ndarray
        (N, C, 1, 1), or without the axes that x does not have; float64 for integers.

    Raises
    ------
    TypeError, ValueError
        As `lp_pool2d`.

    Examples
    --------
    >>> import engine
    >>> engine.global_lp_pool2d([[3, 0], [0, 4]])
    array([[5.]])
    """
    return _pooling.forward("global_lp_pool2d", "lp", x, Whole(p), layout, backend, out)


def global_lp_pool2d_backward(dy: ArrayLike, x: ArrayLike, *, p: float = 2,
                              layout: Layout2d = "NCHW", backend: Backend | None = None) -> Array:
    """Gradient of `global_lp_pool2d`; arguments and result as in `lp_pool2d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.global_lp_pool2d_backward([[5.0]], [[3.0, 0.0], [0.0, 4.0]])
    array([[3., 0.],
           [0., 4.]])
    """
    return _pooling.backward("global_lp_pool2d_backward", "lp", dy, x, Whole(p), layout, backend)
