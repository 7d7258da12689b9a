"""Test data: numbers of every dtype, and arrays that hold them in every kind of memory."""

import numpy as np

# how an (n, c, ...) array may lie in memory; the last three only as an input
OUTPUT_VIEWS = ("nchw", "nhwc", "offset", "step", "negative", "permuted")
INPUT_VIEWS = (*OUTPUT_VIEWS, "broadcast", "unaligned", "swapped")


def numbers(rng, shape, dtype, exact):
    """Integers of the whole range; floats that are small integers (`exact`) or normal ones."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    values = rng.integers(-4, 5, shape) if exact else rng.standard_normal(shape)
    return values.astype(dtype)


def blank(shape, dtype, view, rng):
    """An array of that shape in memory of that kind, full of a value that would be noticed."""
    if view == "nhwc":
        return np.moveaxis(_noticed((shape[0], *shape[2:], shape[1]), dtype), -1, 1)
    if view == "offset":
        whole = _noticed([size + 3 for size in shape], dtype)
        return whole[tuple(slice(1 + axis % 2, 1 + axis % 2 + n) for axis, n in enumerate(shape))]
    if view == "step":
        return _noticed([2 * size for size in shape], dtype)[(slice(None, None, 2),) * len(shape)]
    if view == "negative":
        return np.flip(_noticed(shape, dtype))
    if view == "permuted":
        order = rng.permutation(len(shape))
        return _noticed([shape[axis] for axis in order], dtype).transpose(np.argsort(order))
    return _noticed(shape, dtype)


def laid_out(values, view, rng):
    """Read-only: `values` in memory of that kind; "broadcast" repeats one along a random axis."""
    if view == "broadcast" and 0 not in values.shape:
        return np.broadcast_to(values.take([0], axis=rng.integers(values.ndim)), values.shape)
    if view == "unaligned":
        memory = np.zeros(values.nbytes + 1, np.uint8)
        array = memory[1:].view(values.dtype).reshape(values.shape)
    elif view == "swapped" and values.dtype.name != "bfloat16":
        array = np.empty(values.shape, values.dtype.newbyteorder())
    else:
        array = blank(values.shape, values.dtype, view, rng)
    array[...] = values
    array.flags.writeable = False
    return array


def _noticed(shape, dtype):
    value = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else np.nan
    return np.full(shape, value, dtype)


def wrote_outside(out):
    """Whether memory of a `blank` array between or around its elements was written (spoils it)."""
    whole = out if out.base is None else out.base
    out[...] = _noticed(out.shape, out.dtype)
    return not np.array_equal(whole, _noticed(whole.shape, out.dtype),
                              equal_nan=out.dtype.kind not in "iu")
