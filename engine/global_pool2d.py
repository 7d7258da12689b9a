"""2-D pooling over the whole plane, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._windows import Whole


def global_max_pool2d(x, *, layout="NCHW", return_indices=False, out=None, backend=None):
    return _pooling.forward("global_max_pool2d", "max", x, Whole(), layout, backend, out,
                            return_indices)


def global_max_pool2d_backward(dy, x, *, layout="NCHW", indices=None, backend=None):
    return _pooling.backward("global_max_pool2d_backward", "max", dy, x, Whole(), layout, backend,
                             indices)


def global_min_pool2d(x, *, layout="NCHW", return_indices=False, out=None, backend=None):
    return _pooling.forward("global_min_pool2d", "min", x, Whole(), layout, backend, out,
                            return_indices)


def global_min_pool2d_backward(dy, x, *, layout="NCHW", indices=None, backend=None):
    return _pooling.backward("global_min_pool2d_backward", "min", dy, x, Whole(), layout, backend,
                             indices)


def global_avg_pool2d(x, *, layout="NCHW", out=None, backend=None):
    return _pooling.forward("global_avg_pool2d", "avg", x, Whole(), layout, backend, out)


def global_avg_pool2d_backward(dy, x, *, layout="NCHW", backend=None):
    return _pooling.backward("global_avg_pool2d_backward", "avg", dy, x, Whole(), layout, backend)


def global_lp_pool2d(x, *, p=2, layout="NCHW", out=None, backend=None):
    return _pooling.forward("global_lp_pool2d", "lp", x, Whole(p), layout, backend, out)


def global_lp_pool2d_backward(dy, x, *, p=2, layout="NCHW", backend=None):
    return _pooling.backward("global_lp_pool2d_backward", "lp", dy, x, Whole(p), layout, backend)
