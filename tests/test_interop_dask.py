"""engine.interop.dask: every result is, bit for bit, what engine computes from the whole array."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine

da = pytest.importorskip("dask.array", reason="Dask is not installed")
from engine.interop import dask as bridge  # noqa: E402

SIZES = st.integers(1, 40)


def cut(draw, size):
    """Chunk sizes that make up that size."""
    edges = sorted(draw(st.sets(st.integers(1, max(size - 1, 1)), max_size=4)) - {size})
    return tuple(np.diff([0, *edges, size]).tolist())


@st.composite
def chunked(draw, rank, channels):
    shape = (draw(st.integers(1, 3)), channels, *(draw(SIZES) for _ in range(rank)))
    shape = shape[draw(st.sampled_from([0, 0, 0, 1])):]
    seed = draw(st.integers(0, 2**32 - 1))
    x = np.random.default_rng(seed).standard_normal(shape)
    x = x.astype(draw(st.sampled_from(["float32", "float32", "float64", "float16"])))
    return x, da.from_array(x, chunks=tuple(cut(draw, size) for size in shape))


def each_axis(rank, low, high):
    return st.tuples(*[st.integers(low, high)] * rank)


@st.composite
def convolutions(draw):
    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    groups, each, out = draw(st.sampled_from([1, 1, 2, 6])), draw(st.sampled_from([1, 3, 8])), draw(
        st.sampled_from([1, 4, 16]))
    x, chunks = draw(chunked(rank, groups * each))
    kernel = draw(st.one_of(each_axis(rank, 1, 5), st.just((3,) * rank)))
    dtype = x.dtype
    weight = np.random.default_rng(0).standard_normal((groups * out, each, *kernel)).astype(dtype)
    bias = np.arange(groups * out).astype(dtype) if draw(st.booleans()) else None
    pairs = st.tuples(*[st.tuples(st.integers(0, 6), st.integers(0, 6))] * rank)
    options = {"stride": draw(st.one_of(st.just(1), each_axis(rank, 1, 4))),
               "dilation": draw(st.one_of(st.just(1), each_axis(rank, 1, 3))),
               "padding": draw(st.one_of(pairs, st.sampled_from(["same", "same_lower", "full"]))),
               "groups": groups, "algorithm": draw(st.sampled_from([None, None, "im2col"])),
               "padding_mode": draw(st.sampled_from(["constant"] * 3 + ["edge", "reflect",
                                                                        "wrap"]))}
    return rank, x, chunks, weight, bias, options


def same(actual, expected):
    """And with the same errors."""
    try:
        truth = expected()
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)) as caught:
            actual()
        assert str(caught.value) == str(error)
        return
    y = actual()
    assert y.shape == truth.shape and y.dtype == truth.dtype
    result = y.compute(scheduler="synchronous")
    assert result.dtype == truth.dtype
    if truth.dtype.kind != "f":
        np.testing.assert_array_equal(result, truth)
        return
    # a chunk of one pixel is a fully connected layer, whose sums have an order of their own
    rounding = 32 * np.finfo(truth.dtype).eps
    largest = np.abs(truth).max(initial=0, where=np.isfinite(truth))
    np.testing.assert_allclose(result, truth, rtol=rounding, atol=rounding * largest)


@settings(max_examples=100)
@given(convolutions())
def test_convolutions(case):
    rank, x, chunks, weight, bias, options = case
    op = f"conv{rank}d"
    same(lambda: getattr(bridge, op)(chunks, weight, bias, **options),
         lambda: getattr(engine, op)(x, weight, bias, **options))


@st.composite
def poolings(draw):
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    kind = draw(st.sampled_from(["max", "min", "avg", "lp"]))
    x, chunks = draw(chunked(rank, draw(st.integers(1, 5))))
    options = {"stride": draw(st.one_of(st.none(), each_axis(rank, 1, 5))),
               "padding": draw(st.sampled_from([0, 1, 2, "same", "same_lower"])),
               "dilation": draw(st.one_of(st.just(1), each_axis(rank, 1, 3))),
               "ceil_mode": draw(st.booleans())}
    if kind == "avg":
        options["count_include_pad"] = draw(st.booleans())
    if kind == "lp":
        options["p"] = draw(st.sampled_from([1, 2, 3.5]))
    return f"{kind}_pool{rank}d", x, chunks, draw(each_axis(rank, 1, 5)), options


@settings(max_examples=100)
@given(poolings())
def test_poolings(case):
    op, x, chunks, kernel, options = case
    same(lambda: getattr(bridge, op)(chunks, kernel, **options),
         lambda: getattr(engine, op)(x, kernel, **options))


def test_the_algorithm_is_that_of_the_whole_array():
    """Winograd, whose results depend on where its tiles are."""
    x = np.random.default_rng(0).standard_normal((2, 64, 57, 62)).astype(np.float32)
    weight = np.random.default_rng(1).standard_normal((64, 64, 3, 3)).astype(np.float32)
    chunks = da.from_array(x, chunks=(1, 32, (9, 20, 28), (31, 2, 29)))
    for algorithm in None, "winograd", "direct":
        y = bridge.conv2d(chunks, weight, padding=1, algorithm=algorithm)
        assert len(y.chunks[2]) == 3
        np.testing.assert_array_equal(
            y.compute(), engine.conv2d(x, weight, padding=1, algorithm=algorithm))


def test_chunks_of_the_result():
    x = da.zeros((5, 6, 100, 100), chunks=(2, 3, (10, 90), (50, 50)))
    y = bridge.conv2d(x, np.ones((4, 6, 5, 5)), stride=3, padding=2, algorithm="direct")
    assert y.chunks == ((2, 2, 1), (4,), (4, 30), (18, 16))
    assert bridge.max_pool2d(x, 2).chunks == ((2, 2, 1), (3, 3), (5, 45), (25, 25))


def test_what_is_not_taken():
    x = da.zeros((1, 1, 8, 8), chunks=4)
    with pytest.raises(ValueError, match="max_pool2d: `return_indices` is True, expected False"):
        bridge.max_pool2d(x, 2, return_indices=True)
    with pytest.raises(ValueError, match="avg_pool1d: `x` has chunks of unknown size"):
        bridge.avg_pool1d(x[x > 0], 2)


def test_an_image_larger_than_the_memory_in_use():
    resource = pytest.importorskip("resource")
    code = """
import resource
import dask.array as da, numpy as np
from engine.interop.dask import avg_pool2d, conv2d
small = da.ones((1, 2, 64, 64), chunks=(1, 2, 32, 32), dtype="float32")
def total(x):
    return float(avg_pool2d(conv2d(x, np.ones((8, 2, 3, 3), "float32"), padding=1), 2).sum()
                 .compute(scheduler="synchronous"))
total(small)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(total(da.ones((1, 2, 8192, 8192), chunks=(1, 2, 1024, 1024), dtype="float32")))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    assert resource
    path = os.pathsep.join([str(Path(engine.__file__).parent.parent),
                            *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True,
                          env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    total, kilobytes = map(float, done.stdout.split())
    n = 8192  # 9 n^2 terms, but 3 n less along each side and 1 more in each corner
    np.testing.assert_allclose(total, 8 * 2 * (9 * n * n - 12 * n + 4) / 4, rtol=1e-6)
    assert kilobytes * 1024 < 8 * n * n * 4 / 2  # half of the convolution's result alone
