"""The gradient of max(x, 0) by the C library, for contiguous arrays of float32 and float64."""

from __future__ import annotations

from engine import _config
from engine._library import lib
from engine.kernels.c_call import address
from engine.kernels.norm_c import THREADED, refusal  # noqa: F401

_TYPE = {"float32": lib.ENGINE_F32, "float64": lib.ENGINE_F64}


def backward(problem, dy, y, dx):
    threads = 1 if problem.size < THREADED else _config.get_num_threads()
    lib.engine_relu_backward(_TYPE[problem.dtype.name], address(dy), address(y), address(dx),
                             problem.size, threads)
