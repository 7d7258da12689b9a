"""1-D pooling over the whole line, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Layout1d, Pooled
from engine._windows import Whole


def global_max_pool1d(x: ArrayLike, *, layout: Layout1d = "NCL", return_indices: bool = False,
                      out: Array | None = None, backend: Backend | None = None) -> Pooled:
    """The largest element of every line: `max_pool1d` with a window as large as that.

    The result is (N, C, 1), or without the axes that x does not have.

    Examples
    --------
    >>> import engine
    >>> engine.global_max_pool1d([1, 5, 2])
    array([5])
    """
    return _pooling.forward("global_max_pool1d", "max", x, Whole(), layout, backend, out,
                            return_indices)


def global_max_pool1d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout1d = "NCL",
                               indices: ArrayLike | None = None,
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_max_pool1d`; arguments and result as in `max_pool1d_backward`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.global_max_pool1d_backward([9], np.array([1, 5, 2]))
    array([0, 9, 0])
    """
    return _pooling.backward("global_max_pool1d_backward", "max", dy, x, Whole(), layout, backend,
                             indices)


def global_min_pool1d(x: ArrayLike, *, layout: Layout1d = "NCL", return_indices: bool = False,
                      out: Array | None = None, backend: Backend | None = None) -> Pooled:
    """The smallest element of every line: `min_pool1d` with a window as large as that.

    The result is (N, C, 1), or without the axes that x does not have.

    Examples
    --------
    >>> import engine
    >>> engine.global_min_pool1d([1, 5, 2])
    array([1])
    """
    return _pooling.forward("global_min_pool1d", "min", x, Whole(), layout, backend, out,
                            return_indices)


def global_min_pool1d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout1d = "NCL",
                               indices: ArrayLike | None = None,
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_min_pool1d`; arguments and result as in `max_pool1d_backward`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.global_min_pool1d_backward([9], np.array([1, 5, 2]))
    array([9, 0, 0])
    """
    return _pooling.backward("global_min_pool1d_backward", "min", dy, x, Whole(), layout, backend,
                             indices)


def global_avg_pool1d(x: ArrayLike, *, layout: Layout1d = "NCL", out: Array | None = None,
                      backend: Backend | None = None) -> Array:
    """The mean of every line: `avg_pool1d` with a window as large as that.

    The result is (N, C, 1), or without the axes that x does not have.

    Examples
    --------
    >>> import engine
    >>> engine.global_avg_pool1d([1, 5, 3])
    array([3.])
    """
    return _pooling.forward("global_avg_pool1d", "avg", x, Whole(), layout, backend, out)


def global_avg_pool1d_backward(dy: ArrayLike, x: ArrayLike, *, layout: Layout1d = "NCL",
                               backend: Backend | None = None) -> Array:
    """Gradient of `global_avg_pool1d`; x may be an array or its shape.

    Examples
    --------
    >>> import engine
    >>> engine.global_avg_pool1d_backward([8.0], (4,))
    array([2., 2., 2., 2.])
    """
    return _pooling.backward("global_avg_pool1d_backward", "avg", dy, x, Whole(), layout, backend)


def global_lp_pool1d(x: ArrayLike, *, p: float = 2, layout: Layout1d = "NCL",
                     out: Array | None = None, backend: Backend | None = None) -> Array:
    """The p-norm of every line: `lp_pool1d` with a window as large as that.

    The result is (N, C, 1), or without the axes that x does not have.

    Examples
    --------
    >>> import engine
    >>> engine.global_lp_pool1d([3, 0, 4])
    array([5.])
    """
    return _pooling.forward("global_lp_pool1d", "lp", x, Whole(p), layout, backend, out)


def global_lp_pool1d_backward(dy: ArrayLike, x: ArrayLike, *, p: float = 2,
                              layout: Layout1d = "NCL", backend: Backend | None = None) -> Array:
    """Gradient of `global_lp_pool1d`; arguments as in `lp_pool1d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.global_lp_pool1d_backward([5.0], [3.0, 0.0, 4.0])
    array([3., 0., 4.])
    """
    return _pooling.backward("global_lp_pool1d_backward", "lp", dy, x, Whole(p), layout, backend)
