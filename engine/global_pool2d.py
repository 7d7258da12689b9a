"""2-D pooling over the whole plane, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._check_pool import whole


def global_max_pool2d(x, *, layout="NCHW", return_indices=False, out=None, backend=None):
    return _pooling.forward("global_max_pool2d", "max", x, whole(), layout, backend, out,
                            return_indices)


def global_max_pool2d_backward(dy, x, *, layout="NCHW", indices=None, backend=None):
    return _pooling.backward("global_max_pool2d_backward", "max", dy, x, whole(), layout, backend,
                             indices)


def global_min_pool2d(x, *, layout="NCHW", return_indices=False, out=None, backend=None):
    return _pooling.forward("global_min_pool2d", "min", x, whole(), layout, backend, out,
                            return_indices)


def global_min_pool2d_backward(dy, x, *, layout="NCHW", indices=None, backend=None):
    return _pooling.backward("global_min_pool2d_backward", "min", dy, x, whole(), layout, backend,
                             indices)


def global_avg_pool2d(x, *, layout="NCHW", out=None, backend=None):
    return _pooling.forward("global_avg_pool2d", "avg", x, whole(), layout, backend, out)


def global_avg_pool2d_backward(dy, x, *, layout="NCHW", backend=None):
    return _pooling.backward("global_avg_pool2d_backward", "avg", dy, x, whole(), layout, backend)


def global_lp_pool2d(x, *, p=2, layout="NCHW", out=None, backend=None):
    return _pooling.forward("global_lp_pool2d", "lp", x, whole(p), layout, backend, out)


def global_lp_pool2d_backward(dy, x, *, p=2, layout="NCHW", backend=None):
    return _pooling.backward("global_lp_pool2d_backward", "lp", dy, x, whole(p), layout, backend)
