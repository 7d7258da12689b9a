"""Sums, means, norms and extremes over axes."""

from __future__ import annotations

import numpy as np

from engine.interop.onnx.table import operator


def reduction(name: str, forward, gradient):
    """Enter y = forward(x, axes), which keeps the axes, with dx = gradient(dy, x, y)."""
    @operator(name)
    def run(call, x, axes=None):
        axes = call.ints("axes", axes)
        if not axes and call.get("noop_with_empty_axes", 0) and call.opset >= 13:
            axes = ()
        else:
            axes = tuple(axis % x.ndim for axis in axes) if axes else tuple(range(x.ndim))
        y = np.asarray(forward(x, axes)).astype(x.dtype, copy=False)

        def backward(dy):
            return gradient(dy.reshape(y.shape), x, y).astype(x.dtype, copy=False), None
        return (y if call.get("keepdims", 1) else y.squeeze(axes)), backward


def _sum(x, axes):
    return x.sum(axis=axes, keepdims=True, dtype=x.dtype)


def _log_sum_exp(x, axes):
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):  # the logarithm of no sum
        return top + np.log(np.exp(x - top).sum(axis=axes, keepdims=True))


def _log_sum(x, axes):
    with np.errstate(divide="ignore"):
        return np.log(_sum(x, axes))


def _bound(dtype: np.dtype, largest: bool):
    """What every number of that dtype is at least, or at most."""
    if dtype.kind == "b":
        return largest
    if dtype.kind in "iu":
        return np.iinfo(dtype).max if largest else np.iinfo(dtype).min
    return np.inf if largest else -np.inf


def _max(x, axes):
    return x.max(axis=axes, keepdims=True, initial=_bound(x.dtype, False))


def _min(x, axes):
    return x.min(axis=axes, keepdims=True, initial=_bound(x.dtype, True))


def _to_equal(dy, x, y):
    """Shared evenly by all that are equal to the extreme."""
    here = x == y
    axes = tuple(i for i, size in enumerate(y.shape) if size != x.shape[i])
    return dy * here / here.sum(axis=axes, keepdims=True)


def _mean_gradient(dy, x, y):
    return np.broadcast_to(dy, x.shape) * (y.size / x.size)


reduction("ReduceSum", _sum, lambda dy, x, y: np.broadcast_to(dy, x.shape))
reduction("ReduceMean", lambda x, axes: x.mean(axis=axes, keepdims=True), _mean_gradient)
reduction("ReduceProd", lambda x, axes: x.prod(axis=axes, keepdims=True, dtype=x.dtype),
          lambda dy, x, y: dy * y / x)
reduction("ReduceL1", lambda x, axes: _sum(np.abs(x), axes), lambda dy, x, y: dy * np.sign(x))
reduction("ReduceL2", lambda x, axes: np.sqrt(_sum(x * x, axes)),
          lambda dy, x, y: dy * x / np.where(y == 0, 1, y))
reduction("ReduceSumSquare", lambda x, axes: _sum(x * x, axes), lambda dy, x, y: 2 * dy * x)
reduction("ReduceLogSum", _log_sum, lambda dy, x, y: dy / np.exp(y) + np.zeros_like(x))
reduction("ReduceLogSumExp", _log_sum_exp, lambda dy, x, y: dy * np.exp(x - y))
reduction("ReduceMax", _max, _to_equal)
reduction("ReduceMin", _min, _to_equal)
