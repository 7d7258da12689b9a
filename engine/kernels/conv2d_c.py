"""2-D convolution by the C library: fills in its argument block and calls it.

The C kernels know float32, float64 and 32- and 64-bit integers, and images of bfloat16 where AMX
has tiles for them.  Other types are widened for the call: 16-bit floats to float32, small integers
to int32, whose sums wrap to the right bits.
"""

from __future__ import annotations

import numpy as np

from engine import _config, _library, _memory
from engine._library import ffi, lib
from engine._problem import NormProblem
from engine.kernels import norm_c
from engine.kernels.c_call import address, bound_conv2d, scratch

ALGORITHMS = ("direct", "im2col", "winograd", "bf16x6")

THREADED_WORK = 1 << 20  # multiply-adds, or what takes as long

_ALGORITHM = {"direct": lib.ENGINE_DIRECT, "im2col": lib.ENGINE_IM2COL,
              "winograd": lib.ENGINE_WINOGRAD, "bf16x6": lib.ENGINE_BF16X6}
_NAME = {number: name for name, number in _ALGORITHM.items()}
_DIRECTION = {"forward": lib.ENGINE_FORWARD, "backward_data": lib.ENGINE_BACKWARD_DATA,
              "backward_weight": lib.ENGINE_BACKWARD_WEIGHT}
_TYPE = {"float32": lib.ENGINE_F32, "float64": lib.ENGINE_F64,
         "int32": lib.ENGINE_I32, "int64": lib.ENGINE_I64,
         "bfloat16": lib.ENGINE_F32}  # the type of its sums


def refusal(problem, direction, algorithm):
    if algorithm not in ALGORITHMS:
        return f"there is no {algorithm} kernel"
    if algorithm == "bf16x6":
        return _no_bf16x6(problem)
    return _no_winograd(problem) if algorithm == "winograd" else None


def _no_bf16x6(problem):
    """Why products of bfloat16 parts cannot do it, or None."""
    if _library.get_isa() != "amx":
        return "bf16x6 needs the tiles of AMX"
    if _compute_dtype(problem.dtype) != np.float32:
        return "bf16x6 is for float32 and narrower"
    return None


def _no_winograd(problem):
    """Why Winograd's F(4x4, 3x3) and F(3x3, 4x4) cannot do it, or None."""
    if problem.dtype.kind in "iu":
        return "winograd needs a floating-point dtype"
    if (problem.kh, problem.kw) != (3, 3):
        return f"winograd needs a 3x3 kernel, not {problem.kh}x{problem.kw}"
    if (problem.stride_h, problem.stride_w, problem.dil_h, problem.dil_w) != (1, 1, 1, 1):
        return "winograd needs stride 1 and dilation 1"
    return None


def order(problem, direction):
    """The algorithms, the one expected to be fastest first.

    That is a property of one image: neither the batch nor the number of threads counts, so that
    neither changes a result.  Winograd and parts of bfloat16 lead in float32, where they are as
    exact as a direct sum; bfloat16 itself needs no parts.  In float64 Winograd leads where it
    saves much: its error is up to ten times that of a direct sum, 4e-15 of the largest result.
    """
    wide = _compute_dtype(problem.dtype)
    if wide not in (np.float32, np.float64):
        return ALGORITHMS
    x, weight, y = (np.broadcast_to(wide.type(0), shape) for shape in
                    (problem.x_shape, problem.weight_shape, problem.y_shape))
    p = _describe(problem, "direct", x, weight, y)
    p.bfloat16 = problem.dtype.name == "bfloat16"
    first = _NAME[lib.engine_conv2d_preferred(p, _DIRECTION[direction])]
    return (first, *(a for a in ALGORITHMS if a != first))


def forward(problem, algorithm, x, weight, bias, y):
    wide, held = _compute_dtype(problem.dtype), _image_dtype(problem, algorithm)
    x, weight, out = x.astype(held, copy=False), weight.astype(wide, copy=False), _output(y, held)
    bias = None if bias is None else bias.astype(wide, copy=False)
    relu = problem.activation == "relu"
    in_c = relu and problem.dtype == held  # a narrow result must wrap before its sign is asked
    p = _describe(problem, algorithm, x, weight, out, relu=in_c)
    owner, work = scratch(lib.engine_conv2d_workspace(p, lib.ENGINE_FORWARD))
    lib.engine_conv2d_forward(p, address(x), address(weight), address(bias), address(out), work)
    _deliver(out, y)
    if relu and not in_c:
        np.maximum(y, 0, out=y)


def prepare_forward(problem, algorithm, x, weight, bias, y):
    """`forward` for contiguous arrays laid out like these, with all that can be done once done;
    None where that is not possible."""
    wide = _compute_dtype(problem.dtype)
    arrays = [a for a in (x, weight, bias, y) if a is not None]
    if problem.dtype != wide or not all(a.flags.c_contiguous for a in arrays):
        return None
    p = _describe(problem, algorithm, x, weight, y, relu=problem.activation == "relu")
    threads, level = _config.get_num_threads(), lib.engine_get_isa()
    nbytes = lib.engine_conv2d_workspace(p, lib.ENGINE_FORWARD)
    from_buffer, null, run = ffi.from_buffer, ffi.NULL, lib.engine_conv2d_forward

    def prepared(x, weight, bias, y):
        if _config.get_num_threads() != threads or lib.engine_get_isa() != level:
            forward(problem, algorithm, x, weight, bias, y)
            return
        owner, work = scratch(nbytes)
        run(p, from_buffer(x), from_buffer(weight), null if bias is None else from_buffer(bias),
            from_buffer(y), work)

    return prepared


def bind_forward(problem, algorithm, x, weight, bias, y, residual=None):
    """`forward` for these very arrays, as a function without arguments; None if not possible."""
    if problem.dtype != _compute_dtype(problem.dtype) or not _addable(residual, y):
        return None
    p = _describe(problem, algorithm, x, weight, y, relu=problem.activation == "relu")
    nbytes = lib.engine_conv2d_workspace(p, lib.ENGINE_FORWARD)
    return bound_conv2d(p, nbytes, x, weight, bias, y, residual)


def _addable(residual, y):
    return residual is None or (residual.strides == y.strides and residual.flags.aligned)


class PackedWeight:
    """A weight in the form of the kernel that was going to use it, and that weight itself."""

    def __init__(self, weight, memory, nbytes):
        self.weight, self.memory, self.nbytes = weight, memory, nbytes
        self.level = lib.engine_get_isa()
        self.calls = {}  # by strides and threads: the argument block and its bytes of scratch


def pack_weight(problem, algorithm, weight):
    """What `forward_packed` takes instead of the weight; None if no kernel has such a form."""
    if problem.dtype != _compute_dtype(problem.dtype) or not problem.n:
        return None
    x, y = (_placeholder(shape, problem) for shape in (problem.x_shape, problem.y_shape))
    p = _describe(problem, algorithm, x, weight, y)
    nbytes = lib.engine_conv2d_packed_bytes(p, lib.ENGINE_FORWARD)
    if not nbytes:
        return None
    memory = _memory.workspace(nbytes)
    lib.engine_conv2d_pack_weight(p, lib.ENGINE_FORWARD, address(weight), ffi.from_buffer(memory))
    return PackedWeight(weight, memory, nbytes)


def forward_packed(problem, algorithm, x, packed, bias, y):
    key = x.strides, y.strides, _config.get_num_threads()
    entry = packed.calls.get(key)
    if entry is None:
        entry = packed.calls[key] = _describe_packed(problem, algorithm, x, packed, y)
    p, nbytes = entry
    if p is None or lib.engine_get_isa() != packed.level:
        forward(problem, algorithm, x, packed.weight, bias, y)
        return
    owner, work = scratch(nbytes)
    lib.engine_conv2d_forward(p, address(x), ffi.from_buffer(packed.memory), address(bias),
                              address(y), work)


def bind_packed(problem, algorithm, x, packed, bias, y, residual=None):
    """`forward_packed` for these very arrays, as `bind_forward`."""
    p, nbytes = _describe_packed(problem, algorithm, x, packed, y)
    if p is None or lib.engine_get_isa() != packed.level:
        return bind_forward(problem, algorithm, x, packed.weight, bias, y, residual)
    if not _addable(residual, y):
        return None
    return bound_conv2d(p, nbytes, x, packed.memory, bias, y, residual)


def _describe_packed(problem, algorithm, x, packed, y):
    """The argument block and its bytes of scratch; (None, 0) if arrays of these strides need
    another kernel than the one that the weight was packed for."""
    relu = problem.activation == "relu"
    p = _describe(problem, algorithm, x, packed.weight, y, relu=relu)
    if lib.engine_conv2d_packed_bytes(p, lib.ENGINE_FORWARD) != packed.nbytes:
        return None, 0
    p.packed = True
    return p, lib.engine_conv2d_workspace(p, lib.ENGINE_FORWARD)


def _placeholder(shape, problem):
    """An array of that shape and the problem's memory order that takes no memory."""
    n, c, h, w = shape
    strides = (c * h * w, h * w, w, 1) if problem.order == "nchw" else (c * h * w, 1, w * c, c)
    return np.lib.stride_tricks.as_strided(np.empty(1, problem.dtype), shape,
                                           [s * problem.dtype.itemsize for s in strides])


def backward_data(problem, algorithm, dy, weight, dx):
    wide, held = _compute_dtype(problem.dtype), _image_dtype(problem, algorithm)
    dy, weight = dy.astype(held, copy=False), weight.astype(wide, copy=False)
    out = _output(dx, held)
    p = _describe(problem, algorithm, out, weight, dy)
    owner, work = scratch(lib.engine_conv2d_workspace(p, lib.ENGINE_BACKWARD_DATA))
    lib.engine_conv2d_backward_data(p, address(dy), address(weight), address(out), work)
    _deliver(out, dx)


def backward_weight(problem, algorithm, dy, x, dweight):
    wide = _compute_dtype(problem.dtype)
    dy, x, out = dy.astype(wide, copy=False), x.astype(wide, copy=False), _output(dweight, wide)
    p = _describe(problem, algorithm, x, out, dy)
    owner, work = scratch(lib.engine_conv2d_workspace(p, lib.ENGINE_BACKWARD_WEIGHT))
    lib.engine_conv2d_backward_weight(p, address(dy), address(x), address(out), work)
    _deliver(out, dweight)


def backward_bias(problem, dy, dbias):
    planes = dy.flags.c_contiguous
    pixels = dy.transpose(0, 2, 3, 1)
    if problem.dtype.name in ("float32", "float64") and (planes or pixels.flags.c_contiguous):
        n, c, h, w = dy.shape
        order = "nchw" if planes and h * w > 1 else "nhwc"
        images = (n, c, h * w) if order == "nchw" else (1, c, n * h * w)
        norm_c.channel_sums(NormProblem(*images, problem.dtype, order), dy, dbias)
        return
    dbias[...] = dy.sum(axis=(0, 2, 3), dtype=problem.acc_dtype).astype(problem.dtype, copy=False)


def prepare_backward_data(problem, algorithm, dy, weight, dx):
    """`backward_data` for arrays like these, with all that can be done once done; None where that
    is not possible."""
    return _prepared(problem, algorithm, "backward_data", (dx, weight, dy), (dy, weight, dx))


def prepare_backward_weight(problem, algorithm, dy, x, dweight):
    """As `prepare_backward_data`."""
    return _prepared(problem, algorithm, "backward_weight", (x, dweight, dy), (dy, x, dweight))


def _prepared(problem, algorithm, direction, described, arrays):
    if problem.dtype != _compute_dtype(problem.dtype):
        return None
    p = _describe(problem, algorithm, *described)
    strides = tuple(a.strides for a in arrays)
    of_a, of_b, of_out = (ffi.from_buffer if a.flags.c_contiguous else address for a in arrays)
    threads, level = _config.get_num_threads(), lib.engine_get_isa()
    nbytes = lib.engine_conv2d_workspace(p, _DIRECTION[direction])
    run, otherwise = getattr(lib, f"engine_conv2d_{direction}"), globals()[direction]

    def prepared(a, b, out):
        if ((a.strides, b.strides, out.strides) != strides
                or _config.get_num_threads() != threads or lib.engine_get_isa() != level):
            otherwise(problem, algorithm, a, b, out)
            return
        owner, work = scratch(nbytes)
        run(p, of_a(a), of_b(b), of_out(out), work)

    return prepared


def _compute_dtype(dtype):
    """The dtype the C kernels work in; unsigned integers count as signed ones of their size."""
    if dtype.kind in "iu":
        return np.dtype(np.int64 if dtype.itemsize == 8 else np.int32)
    return np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)


def _image_dtype(problem, algorithm):
    """The dtype in which that kernel reads and writes images."""
    if algorithm == "bf16x6" and problem.dtype.name == "bfloat16":
        return problem.dtype
    return _compute_dtype(problem.dtype)


def _output(array, dtype):
    """``array`` itself, or a stand-in of that dtype and its memory order."""
    return array if array.dtype == dtype else np.empty_like(array, dtype=dtype)


def _deliver(out, array):
    if out is not array:
        array[...] = out.astype(array.dtype)


def _describe(problem, algorithm, x, weight, y, relu=False):
    return ffi.new("engine_conv2d *", {
        "n": problem.n, "g": problem.g, "ic": problem.ic, "ih": problem.ih, "iw": problem.iw,
        "oc": problem.oc, "oh": problem.oh, "ow": problem.ow, "kh": problem.kh, "kw": problem.kw,
        "stride_h": problem.stride_h, "stride_w": problem.stride_w,
        "pad_t": problem.pad_t, "pad_l": problem.pad_l,
        "dil_h": problem.dil_h, "dil_w": problem.dil_w,
        "x_stride": [s // x.itemsize for s in x.strides],
        "weight_stride": [s // weight.itemsize for s in weight.strides],
        "y_stride": [s // y.itemsize for s in y.strides],
        "type": _TYPE[x.dtype.name], "algorithm": _ALGORITHM[algorithm], "relu": relu,
        "bfloat16": x.dtype.name == "bfloat16",
        "threads": _threads(problem),
    })


def _threads(problem):
    """Waking a thread costs microseconds: a small problem stays on the caller's.

    A float32 takes as long to read or write as eight multiply-adds."""
    work = problem.macs + 2 * problem.nbytes
    return 1 if work < THREADED_WORK else _config.get_num_threads()

