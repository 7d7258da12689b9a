"""The gradient of max(x, 0)."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import _check, _config, _device, _plan
from engine._memory import empty_output
from engine._problem import ReluProblem
from engine._typing import Array, ArrayLike, Backend


def relu_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None,
                  backend: Backend | None = None) -> Array:
    """What ``y = max(x, 0)`` lets through: dy where y is positive, else 0.

    Parameters
    ----------
    dy : array_like
        The gradient with respect to y.
    y : array_like
        The result of the forward, of the shape of dy; x itself does as well.
    out : ndarray, optional
        Where to write the result, of its shape and dtype; it may be dy itself.
    backend : {"c", "numpy"}, optional
        The only backend to use.

    Returns
    -------
    ndarray
        Of the shape and memory order of dy; its dtype is ``numpy.result_type(dy, y)``.

    Raises
    ------
    TypeError, ValueError
        For arguments that are no such arrays.

    Examples
    --------
    >>> import numpy as np, engine
    >>> engine.relu_backward([1.0, 2.0, 3.0], [0.0, 4.0, 5.0])
    array([0., 2., 3.])
    """
    if out is None and backend is None and _alike(dy, y):
        return _of_alike(dy, y)
    if _device.wanted(backend, dy, y):
        product: Any = dy * (y > 0)  # type: ignore[operator]
        return product
    dy, y = _check.array("relu_backward", "dy", dy), _check.array("relu_backward", "y", y)
    _check.shaped("relu_backward", "dy", dy.shape, y.shape)
    dtype = _check.common_dtype(dy, y)
    if out is not None:
        _check.output("relu_backward", out, y.shape, dtype, **({} if out is dy else {"dy": dy}),
                      y=y)
    _check.backend("relu_backward", backend)
    plan = _plan.choose("relu", ReluProblem(y.size, dtype), "backward", None, backend)
    axes = sorted(range(dy.ndim), key=lambda axis: -abs(dy.strides[axis]))  # as in memory
    shape = tuple(dy.shape[axis] for axis in axes)
    given, kept = (np.ascontiguousarray(_check.cast(each, dtype).transpose(axes))
                   for each in (dy, y))
    if out is not None and out.transpose(axes).flags.c_contiguous:
        plan(given, kept, out.transpose(axes))
        return out
    dx = empty_output(shape, dtype, "nchw")
    plan(given, kept, dx)
    dx = dx.transpose(np.argsort(axes))
    if out is None:
        return dx
    out[...] = dx
    return out


def _alike(dy: Any, y: Any) -> bool:
    """Whether nothing has to be checked or copied, which is how layers call."""
    return (type(dy) is np.ndarray and type(y) is np.ndarray and dy.shape == y.shape
            and dy.dtype == y.dtype and dy.dtype in (np.float32, np.float64) and dy.ndim > 0
            and dy.flags.carray and y.flags.carray and _config.mode.get().backend is None)


def _of_alike(dy: Any, y: Any) -> Array:
    dx = empty_output(dy.shape, dy.dtype, "nchw")
    _plan.choose("relu", ReluProblem(dy.size, dy.dtype), "backward")(dy, y, dx)
    return dx
