"""3-D pooling to a given output size, forward and backward; see adaptive_pool2d.py."""

from __future__ import annotations

from engine import _pooling
from engine._typing import Array, ArrayLike, Backend, Ints, Layout3d, Pooled
from engine._windows import Adaptive


def adaptive_max_pool3d(x: ArrayLike, output_size: Ints, *, layout: Layout3d = "NCDHW",
                        return_indices: bool = False, out: Array | None = None,
                        backend: Backend | None = None) -> Pooled:
    """The largest element of every window, of as many windows as are asked for.

    Parameters
    ----------
    x : array_like
        (N, C, D, H, W), (C, D, H, W) or a bare volume (D, H, W), of any strides.
    output_size : int or (int or None, int or None, int or None)
        Depth, height and width of the result; None keeps that of x.
    layout, return_indices, out, backend
        As in `max_pool3d`.

    Returns
    -------
    y : ndarray
        (N, C, *output_size), or without the axes that x does not have.
    indices : ndarray of int64
        Only with `return_indices`: (d * H + h) * W + w of every result within its volume.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.adaptive_max_pool3d(np.arange(12).reshape(2, 2, 3), (1, None, 1))
    array([[[ 8],
            [11]]])
    """
    return _pooling.forward("adaptive_max_pool3d", "max", x, Adaptive(output_size), layout,
                            backend, out, return_indices)


def adaptive_max_pool3d_backward(dy: ArrayLike, x: ArrayLike, output_size: Ints, *,
                                 layout: Layout3d = "NCDHW", indices: ArrayLike | None = None,
                                 backend: Backend | None = None) -> Array:
    """Gradient of `adaptive_max_pool3d`; arguments and result as in `max_pool3d_backward`.

    Examples
    --------
    >>> import engine
    >>> engine.adaptive_max_pool3d_backward([[[5]]], [[[1, 2, 0]]], 1)
    array([[[0, 5, 0]]])
    """
    return _pooling.backward("adaptive_max_pool3d_backward", "max", dy, x, Adaptive(output_size),
                             layout, backend, indices)


def adaptive_avg_pool3d(x: ArrayLike, output_size: Ints, *, layout: Layout3d = "NCDHW",
                        out: Array | None = None, backend: Backend | None = None) -> Array:
    """The mean of every window; arguments as in `adaptive_max_pool3d`.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.adaptive_avg_pool3d(np.arange(12).reshape(2, 2, 3), (1, None, 1))
    array([[[4.],
            [7.]]])
    """
    return _pooling.forward("adaptive_avg_pool3d", "avg", x, Adaptive(output_size), layout,
                            backend, out)


def adaptive_avg_pool3d_backward(dy: ArrayLike, x: ArrayLike, output_size: Ints, *,
                                 layout: Layout3d = "NCDHW",
                                 backend: Backend | None = None) -> Array:
    """Gradient of `adaptive_avg_pool3d`; x may be an array or its shape.

    Examples
    --------
    >>> import engine
    >>> engine.adaptive_avg_pool3d_backward([[[2.0, 4.0]]], (1, 1, 3), (1, 1, 2))
    array([[[1., 3., 2.]]])
    """
    return _pooling.backward("adaptive_avg_pool3d_backward", "avg", dy, x, Adaptive(output_size),
                             layout, backend)
