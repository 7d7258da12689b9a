"""The inverse of 2-D max-pooling as far as there is one, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout2d, Padding


def max_unpool2d(x: ArrayLike, indices: ArrayLike, kernel_size: Ints, *, stride: Ints | None = None,
                 padding: Padding = 0, output_size: Ints | None = None, layout: Layout2d = "NCHW",
                 out: Array | None = None, backend: Backend | None = None) -> Array:
    """Put what `max_pool2d` took back where it came from, with zeros everywhere else.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), (C, H, W) or (H, W): a result of `max_pool2d`.
    indices : array_like of int
        Where its elements belong, h * OW + w, as `max_pool2d` returns them.  Where two elements
        belong to one place the last of them stays.
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling; they tell its input size (H - 1) * stride + kernel_size - 2 * padding.
    output_size : int or (int, int), optional
        That size, where the pooling left a rest.
    layout, out, backend
        As in `max_pool2d`.

    Returns
    -------
    ndarray
        (N, C, OH, OW), or without the axes that x does not have, in the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`; also for indices outside the plane.

    Examples
    --------
    >>> import engine
    >>> engine.max_unpool2d([[7]], [[3]], 2)
    array([[0, 0],
           [0, 7]])
    """
    windows = (kernel_size, stride, padding, output_size)
    return _pooling.unpool("max_unpool2d", x, indices, windows, layout, out, backend)


def max_unpool2d_backward(dy: ArrayLike, x: ArrayLike, indices: ArrayLike, kernel_size: Ints, *,
                          stride: Ints | None = None, padding: Padding = 0,
                          output_size: Ints | None = None, layout: Layout2d = "NCHW",
                          backend: Backend | None = None) -> Array:
    """Gradient of `max_unpool2d` with respect to x: dy at the indices.

    Examples
    --------
    >>> import engine
    >>> engine.max_unpool2d_backward([[1, 2], [3, 4]], [[7]], [[3]], 2)
    array([[4]])
    """
    windows = (kernel_size, stride, padding, output_size)
    return _pooling.unpool_backward("max_unpool2d_backward", dy, x, indices, windows, layout,
                                    backend)
