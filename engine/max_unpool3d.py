"""The inverse of 3-D max-pooling as far as there is one, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout3d, Padding


def max_unpool3d(x: ArrayLike, indices: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None,
                 padding: Padding = 0, output_size: Ints | None = None, layout: Layout3d = "NCDHW",
                 out: Array | None = None, backend: Backend | None = None) -> Array:
    """Put what `max_pool3d` took back where it came from, with zeros everywhere else.

    Parameters
    ----------
    x : array_like
        (N, C, D, H, W), (C, D, H, W) or a bare volume (D, H, W): a result of `max_pool3d`.
    indices : array_like of int
        Where its elements belong, as `max_pool3d` returns them.
    kernel_size, stride, padding, output_size : int or (int, int, int)
        As in `max_unpool2d`.
    layout, out, backend
        As in `max_pool3d`.

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
    >>> engine.max_unpool3d([[[7]]], [[[3]]], (1, 2, 2))
    array([[[0, 0],
            [0, 7]]])
    """
    windows = (kernel_size, stride, padding, output_size)
    return _pooling.unpool("max_unpool3d", x, indices, windows, layout, out, backend)


def max_unpool3d_backward(dy: ArrayLike, x: ArrayLike, indices: ArrayLike, kernel_size: Ints, *,
                          stride: Ints | None = None, padding: Padding = 0,
                          output_size: Ints | None = None, layout: Layout3d = "NCDHW",
                          backend: Backend | None = None) -> Array:
    """Gradient of `max_unpool3d` with respect to x: dy at the indices.

    Examples
    --------
    >>> import engine
    >>> engine.max_unpool3d_backward([[[1, 2], [3, 4]]], [[[7]]], [[[3]]], (1, 2, 2))
    array([[[4]]])
    """
    windows = (kernel_size, stride, padding, output_size)
    return _pooling.unpool_backward("max_unpool3d_backward", dy, x, indices, windows, layout,
                                    backend)
