"""What counts as equal: one table of how far a rounded result may be off.

Integers, and floats that hold small integers, are sums without rounding and must match bit for
bit.  Elsewhere a result may be off by one rounding to its own dtype, and by

    TABLE[dtype, what] * eps(accumulator) * sqrt(terms) * magnitude

where `terms` is how many terms were summed and `magnitude` the sum of their absolute values.
"""

import numpy as np

TABLE = {
    ("float16", "sum"): 2, ("bfloat16", "sum"): 2, ("float32", "sum"): 2, ("float64", "sum"): 2,
    # |x|^p, the root and the quotient of a gradient each cost a few roundings
    ("float16", "norm"): 16, ("bfloat16", "norm"): 16, ("float32", "norm"): 16,
    ("float64", "norm"): 16,
    # Winograd F(4x4, 3x3) mixes the pixels of a tile: magnitude is the largest of the image
    ("float16", "winograd"): 8, ("bfloat16", "winograd"): 8, ("float32", "winograd"): 8,
    ("float64", "winograd"): 8,
    # central differences in float64 with a step of 2^-17 lose half of the digits
    ("float64", "difference"): 2.0**20,
}
_EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
_TINY = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
_ACCUMULATOR = {"float16": "float32", "bfloat16": "float32"}


def limit(dtype, what, truth, magnitude, terms):
    """How far from `truth` a result of `dtype` may be."""
    name = np.dtype(dtype).name
    accumulator = _ACCUMULATOR.get(name, name)
    summing = TABLE[name, what] * _EPS[accumulator] * np.sqrt(max(terms, 1)) * magnitude
    return 0.5 * _EPS[name] * (np.abs(truth) + summing) + summing + _TINY[name]


def assert_equal(actual, truth):
    """Bit for bit what rounding (or, of integers, wrapping) `truth` to the dtype gives."""
    with np.errstate(over="ignore"):
        expected = np.asarray(truth).astype(actual.dtype)
    same = (actual == expected) | ((actual != actual) & (expected != expected))
    _explain(actual, expected, ~same, "bit for bit")


def assert_close(actual, truth, magnitude, terms, what="sum"):
    """Within the table's limit; NaN and infinities must be where the truth has them."""
    assert actual.shape == truth.shape, f"shape {actual.shape}, expected {truth.shape}"
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype(np.float64) - truth)
        wrong = ~(error <= limit(actual.dtype, what, truth, magnitude, terms))
    special = ~np.isfinite(truth)
    wrong[special] = ~((actual == truth) | (np.isnan(actual.astype(np.float64))
                                            & np.isnan(truth)))[special]
    _explain(actual, truth, wrong, f'within "{what}" of {terms} terms')


def _explain(actual, expected, wrong, how):
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    if wrong.any():
        where = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise AssertionError(f"{wrong.sum()} of {wrong.size} elements are not equal {how}; the "
                             f"first, at {where}, is {actual[where]!r}, "
                             f"expected {expected[where]!r}")
