"""Numba's kernels on memory that ends (or begins) at a page no one may touch.

Run as a program of its own: ``python guarded.py OP DIRECTION ALGORITHM EXAMPLES``.  A load or store
outside of an array, scratch included, kills it; the last line it wrote then names the case.
"""

import ctypes
import mmap
import sys

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from strategies import conv2d_cases, pool2d_cases

from engine import kernels
from engine.kernels.numba_support import threads

PAGE = mmap.PAGESIZE
_protect = ctypes.CDLL(None, use_errno=True).mprotect
_protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded(size, dtype, at_end=True):
    """A 1-D array between two forbidden pages, right before the second or after the first."""
    dtype = np.dtype(dtype)
    nbytes = size * dtype.itemsize
    length = -(-max(1, nbytes) // PAGE) * PAGE
    memory = mmap.mmap(-1, length + 2 * PAGE)
    whole = np.frombuffer(memory, np.uint8)
    for page in (whole.ctypes.data, whole.ctypes.data + PAGE + length):
        if _protect(page, PAGE, mmap.PROT_NONE if hasattr(mmap, "PROT_NONE") else 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = PAGE + (length - nbytes if at_end else 0)
    array = whole[start:start + nbytes].view(dtype)
    array.view(np.uint8)[...] = 0x7f  # nothing relies on fresh memory being zero
    return array


def image(shape, dtype, order, at_end, values=None):
    """An (n, c, h, w) array in guarded memory."""
    n, c, h, w = shape
    flat = guarded(n * c * h * w, dtype, at_end)
    array = (flat.reshape(n, h, w, c).transpose(0, 3, 1, 2) if order == "nhwc"
             else flat.reshape(shape))
    if values is not None:
        array[...] = values
    return array


def numbers(rng, shape, dtype):
    return rng.integers(0, 5, shape).astype(dtype)


def pool(case, direction, at_end):
    p, rng = case.problem, case.rng
    module = kernels.load("pool2d", "numba")
    x = image(p.x_shape, p.dtype, p.order, at_end, numbers(rng, p.x_shape, p.dtype))
    other = case.views[2] if case.views[2] in ("nchw", "nhwc") else p.order
    y = image(p.y_shape, p.dtype, other, at_end, numbers(rng, p.y_shape, p.dtype))
    places = image(p.y_shape, np.int64, other, at_end, 0)
    is_extreme = p.kind in ("max", "min")
    if direction == "forward":
        module.forward(p, x, y, places if is_extreme and case.exact else None)
    else:
        dx = image(p.x_shape, p.dtype, p.order, at_end)
        module.backward(p, y, x, places if is_extreme and case.exact else None, dx)


def conv(case, direction, algorithm, at_end):
    p, rng = case.problem, case.rng
    module = kernels.load("conv2d", "numba")
    other = case.views[2] if case.views[2] in ("nchw", "nhwc") else p.order
    x = image(p.x_shape, p.dtype, p.order, at_end, numbers(rng, p.x_shape, p.dtype))
    y = image(p.y_shape, p.dtype, other, at_end, numbers(rng, p.y_shape, p.dtype))
    weight = image(p.weight_shape, p.dtype, "nhwc" if case.views[1] == "nhwc" else "nchw", at_end,
                   numbers(rng, p.weight_shape, p.dtype))
    bias = guarded(p.oc, p.dtype, at_end) if p.bias else None
    if bias is not None:
        bias[...] = 1
    arrays = {"forward": (x, weight, bias, y), "backward_data": (y, weight, x),
              "backward_weight": (y, x, weight)}[direction]
    getattr(module, direction)(p, algorithm, *arrays)


def main(op, direction, algorithm, examples):
    cases = conv2d_cases() if op == "conv2d" else pool2d_cases()
    module = kernels.load(op, "numba")

    @settings(max_examples=int(examples), deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(cases)
    def check(case):
        named = () if op == "pool2d" else (algorithm,)
        if module.refusal(case.problem, direction, *named) is not None or case.problem.n == 0:
            return
        for at_end in (True, False):
            print(case, "end" if at_end else "start", flush=True)
            threads.scratch = lambda name, size, dtype: guarded(size, dtype, at_end)  # noqa: B023
            if op == "pool2d":
                pool(case, direction, at_end)
            else:
                conv(case, direction, algorithm, at_end)

    check()
    print("all inside")


if __name__ == "__main__":
    main(*sys.argv[1:])
