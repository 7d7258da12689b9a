"""3-D pooling over the whole volume, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Layout3d, Pooled
from engine._windows import Whole


def global_max_pool3d(x: ArrayLike, *, layout: Layout3d = "NCDHW", return_indices: bool = False,
                      out: Array | None = None, backend: Backend | None = None) -> Pooled:
    """The largest element of every volume: `max_pool3d` with a window as large as that.

    The result is (N, C, 1, 1, 1), or without the axes that x does not have.

    Examples
    --------
    >>> import engine
    >>> engine.global_max_pool3d([[[1, 5], [3, 2]]])
    array([[[5]]])
    """
    return _pooling.forward("global_max_pool3d", "max", x, Whole(), layout, backend, out,
                            return_indices)


def global_max_pool3d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout3d = "NCDHW",
                               indices: ArrayLike | None = None,
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_max_pool3d`; arguments and result as in `max_pool3d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.global_max_pool3d_backward([[[9]]], [[[1, 5], [3, 2]]])
    array([[[0, 9],
            [0, 0]]])
    """
    return _pooling.backward("global_max_pool3d_backward", "max", dy, x, Whole(), layout, backend,
                             indices)


def global_min_pool3d(x: ArrayLike, *, layout: Layout3d = "NCDHW", return_indices: bool = False,
                      out: Array | None = None, backend: Backend | None = None) -> Pooled:
    """The smallest element of every volume: `min_pool3d` with a window as large as that.

    The result is (N, C, 1, 1, 1), or without the axes that x does not have.

    Examples
    --------
    >>> import engine
    >>> engine.global_min_pool3d([[[1, 5], [3, 2]]])
    array([[[1]]])
    """
    return _pooling.forward("global_min_pool3d", "min", x, Whole(), layout, backend, out,
                            return_indices)


def global_min_pool3d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout3d = "NCDHW",
                               indices: ArrayLike | None = None,
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_min_pool3d`; arguments and result as in `max_pool3d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.global_min_pool3d_backward([[[9]]], [[[1, 5], [3, 2]]])
    array([[[9, 0],
            [0, 0]]])
    """
    return _pooling.backward("global_min_pool3d_backward", "min", dy, x, Whole(), layout, backend,
                             indices)


def global_avg_pool3d(x: ArrayLike, *, layout: Layout3d = "NCDHW", out: Array | None = None,
                      backend: Backend | None = None) -> Array:
    """The mean of every volume: `avg_pool3d` with a window as large as that.

    The result is (N, C, 1, 1, 1), or without the axes that x does not have.

    Examples
    --------
    >>> import engine
    >>> engine.global_avg_pool3d([[[1, 5], [3, 2]]])
    array([[[2.75]]])
    """
    return _pooling.forward("global_avg_pool3d", "avg", x, Whole(), layout, backend, out)


def global_avg_pool3d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout3d = "NCDHW",
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_avg_pool3d`; x may be an array or its shape.

    Examples
    --------
    >>> import engine
    >>> engine.global_avg_pool3d_backward([[[8.0]]], (1, 2, 2))
    array([[[2., 2.],
            [2., 2.]]])
    """
    return _pooling.backward("global_avg_pool3d_backward", "avg", dy, x, Whole(), layout, backend)


def global_lp_pool3d(x: ArrayLike, *, p: float = 2, layout: Layout3d = "NCDHW",
                     out: Array | None = None, backend: Backend | None = None) -> Array:
    """The p-norm of every volume: `lp_pool3d` with a window as large as that.

    The result is (N, C, 1, 1, 1), or without the axes that x does not have.

    Examples
    --------
    >>> import engine
    >>> engine.global_lp_pool3d([[[3, 0], [0, 4]]])
    array([[[5.]]])
    """
    return _pooling.forward("global_lp_pool3d", "lp", x, Whole(p), layout, backend, out)


def global_lp_pool3d_backward(dy: ArrayLike, x: ArrayLike, *, p: float = 2,
                              layout: Layout3d = "NCDHW", backend: Backend | None = None) -> Array:
    """Gradient of `global_lp_pool3d`; arguments as in `lp_pool3d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.global_lp_pool3d_backward([[[5.0]]], [[[3.0, 0.0], [0.0, 4.0]]])
    array([[[3., 0.],
            [0., 4.]]])
    """
    return _pooling.backward("global_lp_pool3d_backward", "lp", dy, x, Whole(p), layout, backend)
