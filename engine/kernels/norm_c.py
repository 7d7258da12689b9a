"""Batch normalisation by the C library, for float32 and float64."""

from __future__ import annotations

from engine import _config
from engine._library import ffi, lib
from engine.kernels.c_call import address, scratch

THREADED = 1 << 16  # elements that are worth waking a thread
_TYPE = {"float32": lib.ENGINE_F32, "float64": lib.ENGINE_F64}
_REMEMBERED = 256  # argument blocks


def refusal(problem, direction):
    if problem.dtype.name not in _TYPE:
        return f"it computes in float32 and float64, not in {problem.dtype.name}"
    return None


def moments(problem, x, mean, variance):
    block, work, _owner = _arguments(problem)
    lib.engine_norm_moments(block, address(x), address(mean), address(variance), work)


def forward(problem, x, mean, variance, weight, bias, residual, y):
    block, work, _owner = _arguments(problem)
    lib.engine_norm_forward(block, address(x), _affine(mean, variance, weight, bias),
                            address(residual), address(y), work)


def backward_weight(problem, dy, x, mean, variance, weight, bias, dweight, dbias):
    block, work, _owner = _arguments(problem)
    lib.engine_norm_backward_weight(block, address(dy), address(x),
                                    _affine(mean, variance, weight, bias), address(dweight),
                                    address(dbias), work)


def backward_data(problem, dy, x, mean, variance, weight, bias, dweight, dbias, count, dx):
    block, work, _owner = _arguments(problem, count)
    lib.engine_norm_backward_data(block, address(dy), address(x),
                                  _affine(mean, variance, weight, bias), address(dweight),
                                  address(dbias), address(dx), work)


def channel_sums(problem, dy, sums):
    block, work, _owner = _arguments(problem)
    lib.engine_norm_backward_weight(block, address(dy), ffi.NULL, ffi.NULL, ffi.NULL,
                                    address(sums), work)


_blocks: dict = {}


def _arguments(problem, count=0):
    """The argument block of a call, remembered; its scratch memory and who owns that."""
    key = problem, count, _config.get_num_threads(), lib.engine_get_isa()
    entry = _blocks.get(key)
    if entry is None:
        p = problem
        elements = p.n * p.c * p.pixels
        block = ffi.new("engine_norm *", {
            "n": p.n, "c": p.c, "pixels": p.pixels, "epsilon": p.epsilon, "count": count,
            "type": _TYPE[p.dtype.name], "last": p.order == "nhwc", "relu": p.activation == "relu",
            "threads": 1 if elements < THREADED else _config.get_num_threads(),
        })
        if len(_blocks) >= _REMEMBERED:
            _blocks.clear()
        entry = _blocks[key] = block, lib.engine_norm_workspace(block)
    owner, work = scratch(entry[1])
    return entry[0], work, owner


def _affine(mean, variance, weight, bias):
    return ffi.new("engine_affine *", [address(mean), address(variance), address(weight),
                                       address(bias)])
