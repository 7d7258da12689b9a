"""What a user passed, checked: this file and `_check_conv`, `_check_pool` are where errors start.

Messages name the operation, the argument, what it is and what it must be.  TypeError is for types
and dtypes, ValueError for shapes and values, MemoryError for what would not fit.
"""

from __future__ import annotations

import operator
from numbers import Integral

import numpy as np

from engine._axes import LAYOUTS, rank_of
from engine._problem import PRECISIONS
from engine.kernels import ASKED_FOR, BACKENDS

MAX_SIZE = 2**31 - 1  # of a stride, a padding ...: products of two of them stay within 64 bits
MAX_BYTES = 2**63 - 1
PADDINGS = ("valid", "same", "same_lower", "full")
_DTYPES = "float16, float32, float64, bfloat16 or an integer dtype"


# ---- single values -----------------------------------------------------------------------------

def option(op: str, name: str, value, known: tuple[str, ...], *, optional: bool = False):
    """`value`, one of the names in `known`, or None where it is optional."""
    if optional and value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{op}: `{name}` is {show(value)}, expected a string")
    if value not in known:
        raise ValueError(f'{op}: `{name}` is "{value}", expected one of {_names(known)}')
    return str(value)


def backend(op: str, value) -> str | None:
    return option(op, "backend", value, (*BACKENDS, *ASKED_FOR), optional=True)


def precision(op: str, value) -> str | None:
    return option(op, "precision", value, PRECISIONS, optional=True)


def layout(op: str, value) -> str:
    return option(op, "layout", value, LAYOUTS[rank_of(op)])


def flag(op: str, name: str, value) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{op}: `{name}` is {show(value)}, expected True or False")
    return bool(value)


def integer(op: str, name: str, value, minimum: int = 0) -> int:
    """An int or NumPy integer, no bool, from `minimum` to MAX_SIZE."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{op}: `{name}` is {show(value)}, expected an integer") from None
    if number < minimum:
        raise ValueError(f"{op}: `{name}` is {number}, expected at least {minimum}")
    if number > MAX_SIZE:
        raise ValueError(f"{op}: `{name}` is {number}, expected at most {MAX_SIZE}")
    return number


def sizes(op: str, name: str, value, minimum: int = 0, count: int | None = None) -> tuple[int, ...]:
    """One integer for every spatial axis, or a sequence with `count`, one for each."""
    count = count or rank_of(op)
    if not is_sequence(value):
        if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
            several = f" or {count} of them" if count > 1 else ""
            raise TypeError(f"{op}: `{name}` is {show(value)}, expected an integer{several}")
        return (integer(op, name, value, minimum),) * count
    if len(value) != count:
        raise ValueError(f"{op}: `{name}` has {len(value)} entries, expected {count}")
    return tuple(integer(op, name, each, minimum) for each in value)


def is_sequence(value) -> bool:
    return isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def is_shape(value) -> bool:
    """Whether that stands for the shape of an array: no array has only integers for rows."""
    return isinstance(value, (tuple, list)) and all(isinstance(each, Integral) for each in value)


def environment(name: str, text: str, value, expected: str):
    """The value of an environment variable, if it could be read."""
    if not value:
        raise ValueError(f'engine: {name} is "{text}", expected {expected}')
    return value


# ---- padding and output sizes ------------------------------------------------------------------

def pads(op: str, value, size, kernel, stride, dilation) -> tuple[tuple[int, int], ...]:
    """(before, after) for every spatial axis, from any of the forms `padding` may have."""
    if isinstance(value, str):
        option(op, "padding", value, PADDINGS)
        return tuple(_named_pad(value, *axis)
                     for axis in zip(size, kernel, stride, dilation, strict=True))
    if is_sequence(value) and any(map(is_sequence, value)):
        if len(value) != len(size):
            raise ValueError(f"{op}: `padding` has {len(value)} entries, expected {len(size)}")
        return tuple(sizes(op, "padding", each, count=2) for each in value)
    return tuple((each, each) for each in sizes(op, "padding", value))


def _named_pad(name: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    span = dilation * (kernel - 1) + 1
    if name == "valid":
        return 0, 0
    if name == "full":
        return span - 1, span - 1
    total = max(0, (-(-size // stride) - 1) * stride + span - size)
    less, more = total // 2, total - total // 2
    return (less, more) if name == "same" else (more, less)


def fits(op: str, name: str, size, pad, kernel, dilation, overhang=None) -> None:
    """A window must fit into the padded input, along every axis, but for what may hang over."""
    for axis, n, (before, after), k, d, over in zip(
            AXES[len(size)], size, pad, kernel, dilation, overhang or [0] * len(size), strict=True):
        span = d * (k - 1) + 1
        if span > n + before + after + over:
            added = f"padding adds {before + after}" + (f", ceil_mode {over}" if over else "")
            raise ValueError(f"{op}: `{name}` spans {span} along the {axis}, expected at most "
                             f"{n + before + after + over} (x has {n}, {added})")


AXES = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def addressable(op: str, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """An array of that shape must be countable in 64-bit bytes."""
    count = dtype.itemsize
    for size in shape:
        count *= max(size, 1)
    if count > MAX_BYTES:
        raise ValueError(f"{op}: `{name}` would have shape {tuple(shape)}, {count} bytes, "
                         f"expected at most {MAX_BYTES}")


# ---- arrays ------------------------------------------------------------------------------------

def array(op: str, name: str, value) -> np.ndarray:
    """`value` as an array of a dtype that can be computed with."""
    try:
        result = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{op}: `{name}` cannot be made an array, expected an array: "
                          f"{error}") from None
    if not _computable(result.dtype):
        raise TypeError(f"{op}: `{name}` has dtype {result.dtype}, expected {_DTYPES}")
    return result


def dtype(op: str, name: str, value) -> np.dtype:
    try:
        result = np.dtype(value)
    except TypeError:
        raise TypeError(f"{op}: `{name}` is {show(value)}, expected a dtype") from None
    if not _computable(result):
        raise TypeError(f"{op}: `{name}` is {result}, expected {_DTYPES}")
    return result


def like(op: str, name: str, value, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`value` as an array, which must have that shape and dtype."""
    result = array(op, name, value)
    shaped(op, name, result.shape, shape)
    if result.dtype != dtype:
        raise TypeError(f"{op}: `{name}` has dtype {result.dtype}, expected {dtype}")
    return result


def itself(op: str, name: str, value) -> None:
    """`value` is to be read where it is, so it has to be an array already."""
    if type(value) is not np.ndarray:
        raise TypeError(f"{op}: `{name}` is {show(value)}, expected an array")


def rows(op: str, name: str, value: np.ndarray) -> None:
    """Raise unless `value` is (rows, columns) of float32 or float64."""
    if value.ndim != 2 or 0 in value.shape:
        raise ValueError(f"{op}: `{name}` has shape {value.shape}, expected (rows, columns)")
    if value.dtype not in (np.float32, np.float64):
        raise TypeError(f"{op}: `{name}` has dtype {value.dtype}, expected float32 or float64")


def function(op: str, name: str, value) -> None:
    """Raise unless it can be called."""
    if not callable(value):
        raise TypeError(f"{op}: `{name}` is {show(value)}, expected a function")


def _computable(dtype: np.dtype) -> bool:
    return (dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (2, 4, 8))
            or dtype.name == "bfloat16")


def is_float(dtype: np.dtype) -> bool:
    return dtype.kind not in "iu"


def images(op: str, name: str, value, layout: str) -> np.ndarray:
    """`value` as an array of images: a batch, a single one or a bare one without channels."""
    result = array(op, name, value)
    rank = len(layout) - 2
    if not rank <= result.ndim <= rank + 2:
        image, bare = layout[1:], layout[1:].replace("C", "")
        raise ValueError(
            f"{op}: `{name}` has {result.ndim} dimensions, expected {rank + 2} "
            f"({', '.join(layout)}), {rank + 1} ({', '.join(image)}) or {rank} ({', '.join(bare)})")
    nonempty(op, name, result.shape[1:] if result.ndim == rank + 2 else result.shape)
    return result


def image_shape(op: str, name: str, value, ndim: int) -> tuple[int, ...]:
    """As `images`, of a shape given in place of an array; it must have `ndim` entries."""
    result = shape(op, name, value, ndim)
    nonempty(op, name, result[1:] if ndim == rank_of(op) + 2 else result)
    return result


def shape(op: str, name: str, value, ndim: int | None = None) -> tuple[int, ...]:
    """A shape given in place of an array, of `ndim` entries if that is known."""
    if not is_sequence(value):
        raise TypeError(f"{op}: `{name}` is {show(value)}, expected a tuple of integers")
    if ndim is not None and len(value) != ndim:
        raise ValueError(f"{op}: `{name}` has {len(value)} entries, expected {ndim}")
    return tuple(integer(op, name, each) for each in value)


def same_ndim(op: str, dy: np.ndarray, x: np.ndarray) -> None:
    if dy.ndim != x.ndim:
        raise ValueError(f"{op}: `dy` has {dy.ndim} dimensions, expected {x.ndim} (as x)")


def nonempty(op: str, name: str, shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise ValueError(f"{op}: `{name}` has a size of 0 in {shape}, expected at least 1")


def shaped(op: str, name: str, actual: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if actual != tuple(expected):
        raise ValueError(f"{op}: `{name}` has shape {actual}, expected {tuple(expected)}")


def common_dtype(*arrays: np.ndarray) -> np.dtype:
    """As numpy.result_type; bfloat16 counts as float16 where NumPy knows no common dtype."""
    dtypes = [each.dtype for each in arrays]
    try:
        dtype = np.result_type(*dtypes)
    except TypeError:
        halves = [np.dtype(np.float16) if each.name == "bfloat16" else each for each in dtypes]
        dtype = np.result_type(np.float32, *halves)
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array itself if kernels can read it, else a copy in the same memory order."""
    if values.dtype == dtype and values.flags.aligned:
        return values
    return values.astype(dtype, order="K")


def output(op: str, out, shape: tuple[int, ...], dtype: np.dtype, **inputs) -> np.ndarray:
    """`out`, if results can be written straight into it."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{op}: `out` is {show(out)}, expected an array")
    if out.dtype != dtype:
        raise TypeError(f"{op}: `out` has dtype {out.dtype}, expected {dtype}")
    shaped(op, "out", out.shape, shape)
    if not out.flags.writeable:
        raise ValueError(f"{op}: `out` is read-only, expected a writeable array")
    if not out.flags.aligned:
        raise ValueError(f"{op}: `out` is not aligned, expected an aligned array")
    if out.size and any(step == 0 and size > 1
                        for step, size in zip(out.strides, out.shape, strict=True)):
        raise ValueError(f"{op}: `out` has elements that share memory, expected separate ones")
    for name, each in inputs.items():
        if isinstance(each, np.ndarray) and _overlap(out, each):
            raise ValueError(f"{op}: `out` overlaps `{name}`, expected memory of its own")
    return out


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    if not np.may_share_memory(a, b):
        return False
    try:
        return np.shares_memory(a, b, max_work=10_000)
    except np.exceptions.TooHardError:
        return True


# ---- errors of other parts ---------------------------------------------------------------------

def refused(problem, direction: str, candidates) -> ValueError:
    """The error for a problem that every allowed candidate refused."""
    op = str(problem).partition(":")[0]
    reasons = "; ".join(
        f"{'/'.join(filter(None, (each.backend, each.algorithm)))}: {each.refusal}"
        for each in candidates)
    return ValueError(f"{op}: no backend can run {problem} {direction}: {reasons}")


def too_large(what: str, nbytes: int, limit: int, reason: str) -> MemoryError:
    """The error for memory that must not be asked for."""
    return MemoryError(f"engine: {what} needs {nbytes} bytes, expected at most {limit} ({reason})")


def _names(known: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in known)


def show(value) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else text[:37] + '...'} ({type(value).__name__})"
