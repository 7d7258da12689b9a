"""The inverse of 1-D max-pooling as far as there is one, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout1d, Padding


def max_unpool1d(x: ArrayLike, indices: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None,
                 padding: Padding = 0, output_size: Ints | None = None, layout: Layout1d = "NCL",
                 out: Array | None = None, backend: Backend | None = None) -> Array:
    """Put what `max_pool1d` took back where it came from, with zeros everywhere else.

    Parameters
    ----------
    x : array_like
        (N, C, L), (C, L) or a bare line (L,): a result of `max_pool1d`.
    indices : array_like of int
        Where its elements belong, as `max_pool1d` returns them.
    kernel_size, stride, padding, output_size : int or (int,)
        As in `max_unpool2d`.
    layout, out, backend
        As in `max_pool1d`.

    Returns
    -------
    ndarray
        In the dtype of x, of the size that `max_unpool2d` documents.

    Raises
    ------
    TypeError, ValueError
        As `max_unpool2d`.

    Examples
    --------
    >>> import engine
    >>> engine.max_unpool1d([5, 4], [1, 3], 2)
    array([0, 5, 0, 4])
    """
    windows = (kernel_size, stride, padding, output_size)
    return _pooling.unpool("max_unpool1d", x, indices, windows, layout, out, backend)


def max_unpool1d_backward(dy: ArrayLike, x: ArrayLike, indices: ArrayLike, kernel_size: Ints, *,
                          stride: Ints | None = None, padding: Padding = 0,
                          output_size: Ints | None = None, layout: Layout1d = "NCL",
                          backend: Backend | None = None) -> Array:
    """Gradient of `max_unpool1d` with respect to x: dy at the indices.

    Examples
    --------
    >>> import engine
    >>> engine.max_unpool1d_backward([6, 7, 8, 9], [5, 4], [1, 3], 2)
    array([7, 9])
    """
    windows = (kernel_size, stride, padding, output_size)
    return _pooling.unpool_backward("max_unpool1d_backward", dy, x, indices, windows, layout,
                                    backend)
