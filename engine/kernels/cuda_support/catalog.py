"""Every kernel that calls can ask for, of the common dtypes; for who compiles them beforehand."""

from __future__ import annotations

from collections.abc import Iterator

from . import depthwise, direct, elementwise, gemm, gemm_weight, pooling, reduction, sums
from .kernel import Kernel

# (dtype of the arrays, what numbers are multiplied as)
PRODUCTS = (("float32", "fp32"), ("float32", "fp32x3"), ("float32", "tf32"), ("float32", "bf16"),
            ("float32", "fp16"), ("float16", "fp16"), ("bfloat16", "bf16"))
FLOATS = ("float32", "float64", "float16", "bfloat16")
ORDERS = ("nchw", "nhwc")


def kernels() -> Iterator[Kernel]:
    """All of them, without activations."""
    for dtype, precision in PRODUCTS:
        yield gemm.pack_weights(dtype, precision)
        for order in ORDERS:
            for tile in gemm.TILES:
                yield gemm.gather_gemm(dtype, precision, *tile, order, None)
            for tile in gemm_weight.TILES:
                yield gemm_weight.gather_gemm_weight(dtype, precision, *tile, order)
    for dtype in FLOATS:
        if dtype != "float64":  # which has no matrix products
            yield sums.add_up(dtype)
        yield sums.bias_gradient(dtype)
        yield direct.gather_weight(dtype)
        for order in ORDERS:
            yield direct.gather(dtype, order, None)
            for step in (1, 2):
                yield depthwise.depthwise(dtype, order, None, 3, step, 1)
            yield from _pooling(dtype, order)
    yield from of_numpy()


def of_numpy() -> Iterator[Kernel]:
    """Some of those for NumPy's functions: what training takes, in float32."""
    number = "float32"
    for flat in (True, False):
        for name in ("add", "subtract", "multiply", "divide", "maximum"):
            yield elementwise.elementwise(name, (number, number), number, number, flat)
            yield elementwise.elementwise(name, (number, None), number, number, flat)
        for name in ("positive", "exp", "log", "sqrt", "negative", "square"):
            yield elementwise.elementwise(name, (number,), number, number, flat)
        yield elementwise.elementwise("greater", (number, None), number, "bool", flat)
        yield elementwise.elementwise("where", ("bool", number, None), number, number, flat)
    for name in ("add", "maximum"):
        yield reduction.reduction(name, number, number, number)


def _pooling(dtype: str, order: str) -> Iterator[Kernel]:
    for kind in ("max", "min"):
        yield pooling.extreme(kind, dtype, order)
    yield pooling.extreme_backward(dtype, order)
    yield pooling.mean("avg", dtype, dtype, order, 1)
    yield pooling.mean_backward(dtype, order)
    for exponent in (0, 1, 2):
        yield pooling.mean("lp", dtype, dtype, order, exponent)
        yield pooling.norm_backward(dtype, order, exponent)
