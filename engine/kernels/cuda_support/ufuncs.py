"""NumPy's universal functions on arrays of a device: the kernel, its dtypes and strides."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .elementwise import AXES, EACH, THREADS, elementwise
from .strides import dense, merged

# by the name of NumPy's function, the name of the operation; truth values are combined as such
KERNELS = {name: name for name in (
    "add", "subtract", "multiply", "divide", "negative", "positive", "absolute", "square", "sqrt",
    "exp", "log", "log1p", "tanh", "power", "maximum", "minimum", "greater", "greater_equal",
    "less", "less_equal", "equal", "not_equal", "isnan", "logical_and", "logical_or",
    "logical_not")}
KERNELS |= {"bitwise_and": "logical_and", "bitwise_or": "logical_or", "invert": "logical_not"}
FLOATS_ONLY = ("divide", "sqrt", "exp", "log", "log1p", "tanh", "power", "isnan")
DTYPES = ("float16", "float32", "float64", "bool", "int8", "uint8", "int16", "uint16", "int32",
          "uint32", "int64", "uint64")


def call(ufunc, inputs, out, dtype):
    """What the ufunc makes of its inputs, in `out` where that is given."""
    operands = [operand(each) for each in inputs]
    loop, result = _dtypes(ufunc, tuple(kind_of(each) for each in operands), dtype)
    return _run(KERNELS[ufunc.__name__], operands, loop, result, out)


def where(condition, a, b):
    """As `numpy.where`."""
    operands = [operand(each) for each in (condition, a, b)]
    loop = np.result_type(*(each if isinstance(each, (int, float)) else each.dtype
                            for each in operands[1:]))
    return _run("where", operands, loop.name, loop, None)


def assign(target, value) -> None:
    """target[...] = value, cast as NumPy casts an assignment."""
    if target.ndim > AXES and getattr(value, "shape", None) == target.shape and not _walkable(
            target.shape, _elements(value, target.shape), _elements(target, target.shape)):
        for i in range(target.shape[0]):
            assign(target[i], value[i])
        return
    _run("positive", [operand(value)], target.dtype.name, target.dtype, target, casting=False)


def operand(value):
    """An array of a device, a number of Python, or a copy of a host array or NumPy's number."""
    if hasattr(value, "address") or type(value) in (bool, int, float):
        return value
    value = np.asarray(value)
    if value.dtype.name not in DTYPES:
        raise TypeError(f"an operand has dtype {value.dtype}, expected one of {', '.join(DTYPES)} "
                        "(on CUDA)")
    return value


def kind_of(value):
    """What NumPy's promotion looks at."""
    if type(value) is bool:
        return np.dtype(bool)
    return type(value) if isinstance(value, (int, float)) else value.dtype


@lru_cache(maxsize=1024)
def _dtypes(ufunc, kinds, dtype):
    """The names of the dtype that is computed in, and the dtype of the result."""
    options = {}
    if dtype is not None:
        options["signature"] = (None,) * ufunc.nin + (np.dtype(dtype),)
    *loops, result = ufunc.resolve_dtypes((*kinds, None), **options)
    loop, name = loops[0], ufunc.__name__
    combines = KERNELS[name].startswith("logical")
    if (loop.name not in DTYPES or loop.kind not in "f" and name in FLOATS_ONLY
            or loop.kind != "b" and combines and not name.startswith("logical")):
        raise TypeError(f"{name}: operands have dtype {loop}, for which there is no CUDA kernel")
    return loop.name, result


def _run(name, operands, loop, result, out, casting=True):
    arrays = [each for each in operands if hasattr(each, "address")]
    lead = arrays[0] if arrays else out
    device, stream = lead.device, lead.stream
    for i, each in enumerate(operands):
        if isinstance(each, np.ndarray) and each.ndim:
            operands[i] = type(lead).copied(device, each, stream)
    arrays = [each for each in operands if hasattr(each, "address")]
    shape = np.broadcast_shapes(*(each.shape for each in arrays))
    y = out
    if y is None:
        y = type(lead).empty(device, shape, _strides(shape, arrays, result), result, stream)
    else:
        _check_out(name, y, shape, result, casting)
        operands = [_apart(each, y) for each in operands]
        arrays = [each for each in operands if hasattr(each, "address")]
        shape = y.shape
    if not y.size:
        return y
    device.enter()
    others = {each.stream for each in arrays} - {stream}
    for each in others:
        device.wait(stream, each)
    flat, count, sizes, (*steps, last) = _walk(
        shape, *(_elements(each, shape) for each in arrays), _elements(y, shape))
    steps = iter(steps)
    dtypes = tuple(each.dtype.name if hasattr(each, "address") else None for each in operands)
    kernel = elementwise(name, dtypes, loop, y.dtype.name, flat)
    missing = 3 - len(operands)
    addresses = [each.address if hasattr(each, "address") else 0 for each in operands]
    numbers = [0.0 if hasattr(each, "address") else float(each) for each in operands]
    steps = [next(steps) if hasattr(each, "address") else (0,) * AXES for each in operands]
    device.launch(kernel, (-(-count // (THREADS * EACH)), 1, 1), (
        *addresses, *(0,) * missing, y.address, *numbers, *(0.0,) * missing, count, *sizes,
        *(step for each in steps for step in each), *(0,) * (missing * AXES), *last), stream)
    for each in others:  # whose memory may be used again once its stream goes on
        device.wait(each, stream)
    return y


def _check_out(name, y, shape, result, casting):
    if not hasattr(y, "address"):
        raise TypeError(f"{name}: `out` is {type(y).__name__}, expected an array on the device")
    if np.broadcast_shapes(shape, y.shape) != y.shape:
        raise ValueError(f"{name}: the result has shape {shape}, expected {y.shape} (that of out)")
    if casting and not np.can_cast(result, y.dtype, "same_kind"):
        raise TypeError(f"{name}: the result has dtype {result}, expected one that can be cast to "
                        f"{y.dtype} (that of out)")


def _apart(value, y):
    """An operand, copied if writing y would change what has not been read yet."""
    if not hasattr(value, "address") or (value.address, value.strides, value.shape) == (
            y.address, y.strides, y.shape):
        return value
    return value.copy() if overlap(value, y) else value


def overlap(a, b) -> bool:
    """Whether the memory between their first and last elements is in part the same."""
    (a_low, a_high), (b_low, b_high) = _bounds(a), _bounds(b)
    return a_low < b_high and b_low < a_high


def _bounds(array):
    ends = [(size - 1) * step for size, step in zip(array.shape, array.strides, strict=True)]
    return (array.address + sum(end for end in ends if end < 0),
            array.address + sum(end for end in ends if end > 0) + array.itemsize)


# ---- shapes and strides --------------------------------------------------------------------------

def _strides(shape, arrays, dtype):
    """Of a result: in the memory order of the first array that has its shape."""
    lead = next((each for each in arrays if each.shape == shape), None)
    order = (0,) * len(shape) if lead is None else lead.strides
    return dense(shape, order, dtype.itemsize)


def _elements(array, shape):
    """Strides in elements, of the array broadcast to that shape."""
    missing = len(shape) - array.ndim
    return (0,) * missing + tuple(0 if size == 1 else step // array.itemsize for size, step in
                                  zip(array.shape, array.strides, strict=True))


def _walkable(shape, *strides) -> bool:
    return len(_merged(shape, *strides)) <= AXES


def _merged(shape, *strides):
    """The axes in the memory order of the last array, those that lie in one line in all as one."""
    order = sorted(range(len(shape)), key=lambda axis: -abs(strides[-1][axis]))
    return merged(*([each[axis] for axis in order] for each in (shape, *strides)))


@lru_cache(maxsize=4096)
def _walk(shape, *strides):
    """(flat, count, sizes of the last three axes, strides of each array along four axes)."""
    count, axes = math.prod(shape), _merged(shape, *strides)
    if len(axes) > AXES:
        raise ValueError(f"arrays of shape {shape} lie in memory in a way that takes "
                         f"{len(axes)} axes to walk, expected at most {AXES} (on CUDA)")
    flat = len(axes) < 2 and all(step == 1 for each in axes for step in each[1:])
    if not flat and count >= 1 << 31:
        raise ValueError(f"the result has {count} elements, expected fewer than 2**31 where arrays "
                         "are broadcast or strided (on CUDA)")
    axes = [(1,) + (0,) * len(strides)] * (AXES - len(axes)) + axes
    sizes, *steps = zip(*axes, strict=True)
    return flat, count, sizes[1:], steps
