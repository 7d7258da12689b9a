"""2-D pooling to a given output size, forward and backward."""

from __future__ import annotations

from engine import _pooling
from engine._windows import Adaptive


def adaptive_max_pool2d(x, output_size, *, layout="NCHW", return_indices=False, out=None,
                        backend=None):
    return _pooling.forward("adaptive_max_pool2d", "max", x, Adaptive(output_size), layout,
                            backend, out, return_indices)


def adaptive_max_pool2d_backward(dy, x, output_size, *, layout="NCHW", indices=None, backend=None):
    return _pooling.backward("adaptive_max_pool2d_backward", "max", dy, x, Adaptive(output_size),
                             layout, backend, indices)


def adaptive_avg_pool2d(x, output_size, *, layout="NCHW", out=None, backend=None):
    return _pooling.forward("adaptive_avg_pool2d", "avg", x, Adaptive(output_size), layout,
                            backend, out)


def adaptive_avg_pool2d_backward(dy, x, output_size, *, layout="NCHW", backend=None):
    return _pooling.backward("adaptive_avg_pool2d_backward", "avg", dy, x, Adaptive(output_size),
                             layout, backend)
