"""2-D pooling by the C library: fills in its argument block and calls it.

The C kernels know float32, float64 and 32- and 64-bit integers.  Smaller types are widened for
the call, 16-bit floats to float32 and small integers to int32.
"""

from __future__ import annotations

import threading

import numpy as np

from engine import _config, _memory
from engine._library import ffi, lib
from engine.kernels.c_call import bound_pool2d

_TYPE = {"float32": lib.ENGINE_F32, "float64": lib.ENGINE_F64,
         "int32": lib.ENGINE_I32, "uint32": lib.ENGINE_I32,
         "int64": lib.ENGINE_I64, "uint64": lib.ENGINE_I64}
_KIND = {"max": lib.ENGINE_MAX, "min": lib.ENGINE_MIN, "avg": lib.ENGINE_AVG, "lp": lib.ENGINE_LP}
CHECKS_INDICES = True  # backward returns False if one is outside its plane

_MAX_CELLS = 2**31  # of a plane whose positions are counted in 32 bits
_REMEMBERED = 256  # argument blocks
_KEPT = 1 << 20  # bytes of scratch that a thread keeps


def refusal(problem, direction):
    if _wide(problem.dtype).itemsize < 8 and problem.ih * problem.iw >= _MAX_CELLS:
        return f"planes of {problem.ih * problem.iw} elements, it counts up to {_MAX_CELLS}"
    return None


def forward(problem, x, y, indices):
    if problem.dtype.name not in _TYPE:
        wide = _wide(problem.dtype)
        result = np.empty_like(y, dtype=wide)
        _forward(problem, x.astype(wide), result, indices)
        y[...] = result.astype(problem.dtype)
    else:
        _forward(problem, x, y, indices)


def backward(problem, dy, x, indices, dx):
    if problem.dtype.name not in _TYPE:
        wide = _wide(problem.dtype)
        result = np.empty_like(dx, dtype=wide)
        x = None if x is None else x.astype(wide)
        inside = _backward(problem, dy.astype(wide), x, indices, result)
        dx[...] = result.astype(problem.dtype)
        return inside
    return _backward(problem, dy, x, indices, dx)


def bind_forward(problem, x, y, indices):
    """`forward` for these very arrays, as a function without arguments; None if not possible."""
    if problem.dtype.name not in _TYPE:
        return None
    block, nbytes = _arguments(problem, x, None, y, indices)
    return bound_pool2d(block, nbytes, x, y, indices)


def _forward(problem, x, y, indices):
    block, nbytes = _arguments(problem, x, None, y, indices)
    scratch, _owner = _scratch(nbytes)
    lib.engine_pool2d_forward(block, _pointer(x), _pointer(y), _positions(indices), scratch)


def _backward(problem, dy, x, indices, dx):
    block, nbytes = _arguments(problem, x, dx, dy, indices)
    scratch, _owner = _scratch(nbytes)
    return bool(lib.engine_pool2d_backward(block, _pointer(dy), _pointer(x), _positions(indices),
                                           _pointer(dx), scratch))


def _wide(dtype):
    """The dtype the C kernels work in."""
    if dtype.name in _TYPE:
        return dtype
    return np.dtype(np.int32 if dtype.kind in "iu" else np.float32)


_blocks: dict = {}


def _arguments(problem, x, dx, y, indices):
    """The argument block of a call and the bytes of scratch it needs, remembered.

    Whoever calls again has the same problem object, which is faster to look up by its identity;
    the entry keeps the object alive, so that no other one can take its place.
    """
    threads = _config.get_num_threads()
    key = (id(problem), _strides(x), _strides(dx), y.strides, _strides(indices), threads,
           lib.engine_get_isa())
    entry = _blocks.get(key)
    if entry is None:
        block = _describe(problem, x, dx, y, indices, threads)
        nbytes = lib.engine_pool2d_workspace(block, dx is not None, indices is not None)
        if len(_blocks) >= _REMEMBERED:
            _blocks.clear()
        entry = _blocks[key] = (block, nbytes, problem)
    return entry[:2]


def _strides(array):
    return None if array is None else array.strides


def _describe(problem, x, dx, y, indices, threads):
    p = problem

    def strides(array):
        return [0] * 4 if array is None else [s // array.itemsize for s in array.strides]

    return ffi.new("engine_pool2d *", {
        "n": p.n, "c": p.c, "ih": p.ih, "iw": p.iw, "oh": p.oh, "ow": p.ow, "kh": p.kh, "kw": p.kw,
        "stride_h": p.stride_h, "stride_w": p.stride_w, "dil_h": p.dil_h, "dil_w": p.dil_w,
        "pad_t": p.pad_t, "pad_b": p.pad_b, "pad_l": p.pad_l, "pad_r": p.pad_r,
        "x_stride": strides(x), "dx_stride": strides(dx), "y_stride": strides(y),
        "index_stride": strides(indices), "p": p.p, "type": _TYPE[y.dtype.name],
        "is_unsigned": y.dtype.kind == "u", "kind": _KIND[p.kind],
        "include_pad": p.count_include_pad, "adaptive": p.adaptive, "threads": threads,
    })


def _pointer(array):
    return ffi.NULL if array is None else ffi.cast("void *", array.__array_interface__["data"][0])


def _positions(indices):
    return ffi.cast("int64_t *", _pointer(indices))


class _Kept(threading.local):
    """A small block of scratch that this thread uses again and again."""

    nbytes = -1
    memory = (ffi.NULL, None)


_kept = _Kept()


def _scratch(nbytes):
    """The address of so many bytes, and the array that owns them."""
    if nbytes <= _kept.nbytes:
        return _kept.memory
    owner = _memory.workspace(nbytes)
    memory = (_pointer(owner), owner)
    if nbytes <= _KEPT:
        _kept.nbytes, _kept.memory = nbytes, memory
    return memory
