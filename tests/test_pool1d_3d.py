"""1-D and 3-D pooling of every kind, both directions, as test_pool2d.py does it for images."""

import naive
import numpy as np
import pytest
import variants
from arrays import laid_out, numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    FLOATS,
    Pool1dCase,
    Pool3dCase,
    pool1d_cases,
    pool3d_cases,
    seeds,
    views,
)
from test_pool2d import EXTREMES, check
from tolerance import assert_close, assert_equal

import engine
from engine._problem import Axis, Pool3dProblem, named_dtype, pool_problem
from engine.kernels import separable

OP = "pool3d"
KINDS = ("max", "min", "avg", "lp")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """A block holds few channels, so that there are several of them."""
    monkeypatch.setattr(separable, "BLOCK_BYTES", 10_000)
    monkeypatch.setattr(separable, "FEW", 3)


# ---- generated, hand-picked, replayed ----------------------------------------------------------

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("variant", variants.params("pool3d"))
@settings(max_examples=25)
@given(data=st.data())
def test_generated_3d(variant, direction, kind, data):
    check(data.draw(pool3d_cases(kinds=(kind,))), variant, direction)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("variant", variants.params("pool2d"))
@settings(max_examples=20)
@given(case=pool1d_cases())
def test_generated_1d(variant, direction, case):
    """The kernels are those of 2-D and tested there: this is about the views of the arrays."""
    check(case, variant, direction)


NASTY = [  # geometry, then the memory of x and y
    ("ic1id1ih1kh1kd1", "nchw"),
    ("mb2ic3id4ih5iw7oh1ow1kh5kw7kd4", "nhwc"),  # the whole volume
    ("mb2ic6id4ih8kh2sh2kd2sd2", "nchw"),
    ("mb2ic17id5ih7kh3sh2kd3sd2pd1ph1", "nhwc"),
    ("ic3id6od3kd3sd2ih6oh3kh3sh2", "nchw"),  # ceil_mode: the last window hangs over
    ("ic3id9od2kd2sd4ih8oh3kh2sh3", "nchw"),  # strides jump over input
    ("mb2ic4id7kd2sd1dd2ih6kh3sh1dh1", "nhwc"),  # dilation
    ("ic3id5kd4sd1pd1bd0ih6iw6oh4ow2kh3kw4sh2sw2ph1pw0bh2bw0", "nchw"),  # one-sided padding
    ("mb0ic3id4kd2sd2ih8kh2sh2", "nchw"),
]


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float16"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("variant", variants.params("pool3d"))
def test_nasty(variant, direction, dtype):
    for number, (geometry, memory) in enumerate(NASTY):
        for kind in KINDS if dtype in FLOATS else EXTREMES:
            problem = Pool3dProblem.parse(geometry, kind, dtype=np.dtype(dtype), order=memory)
            check(Pool3dCase(problem, number, (memory,) * 3 + ("none",), number % 2 == 0), variant,
                  direction)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("variant", variants.params("pool3d"))
def test_replay(variant, direction, replay):
    check(Pool3dCase.parse(replay), variant, direction)


@given(case=pool3d_cases())
def test_the_line_of_a_problem(case):
    assert Pool3dProblem.parse(str(case.problem)) == case.problem
    assert Pool3dCase.parse(str(case)) == case


@st.composite
def adaptive_cases(draw, case, most):
    axes = [Axis(size, out, -(-size // out)) for size, out in
            (draw(st.tuples(st.integers(1, limit), st.integers(1, limit))) for limit in most)]
    problem = pool_problem(
        draw(st.sampled_from(("max", "avg"))), draw(st.integers(0, 2)),
        draw(st.sampled_from((1, 3, 16))), axes, adaptive=True,
        dtype=named_dtype(draw(st.sampled_from(("float32", "float64", "float16")))))
    return case(problem, draw(seeds()), draw(views()), draw(st.booleans()))


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize(("variant", "cases"), [
    pytest.param(*variant.values, cases, id=f"{variant.id}-{rank}d", marks=variant.marks)
    for rank, cases in ((1, adaptive_cases(Pool1dCase, (30,))),
                        (3, adaptive_cases(Pool3dCase, (6, 6, 9))))
    for variant in variants.params("pool2d" if rank == 1 else "pool3d")])
@settings(max_examples=15)
@given(data=st.data())
def test_adaptive(variant, direction, cases, data):
    check(data.draw(cases), variant, direction)


# ---- the whole image; layouts; special values --------------------------------------------------

@pytest.mark.parametrize("rank", (1, 3))
@pytest.mark.parametrize("kind", KINDS)
@given(n=st.integers(0, 2), c=st.integers(1, 20), data=st.data(), seed=seeds())
@settings(max_examples=25)
def test_global(kind, rank, n, c, data, seed):
    """global_* is the pooling whose window is the whole image."""
    size = data.draw(st.tuples(*[st.integers(1, 9)] * rank))
    rng = np.random.default_rng(seed)
    x = laid_out(numbers(rng, (n, c, *size), "float32", True), data.draw(views())[0], rng)
    dy = numbers(rng, (n, c, *(1,) * rank), "float32", True)
    name, window = f"{kind}_pool{rank}d", {"kernel_size": size}
    assert_equal(getattr(engine, f"global_{name}")(x), getattr(engine, name)(x, **window))
    assert_equal(getattr(engine, f"global_{name}_backward")(dy, x),
                 getattr(engine, f"{name}_backward")(dy, x, **window))


@pytest.mark.parametrize(("rank", "layout"), [(1, "NLC"), (3, "NDHWC")])
@pytest.mark.parametrize("kind", KINDS)
def test_layout_and_fewer_axes(kind, rank, layout):
    rng = np.random.default_rng(1)
    x, dy = (rng.standard_normal((2, 3, *(size,) * rank)) for size in (6, 3))
    name = f"{kind}_pool{rank}d"
    pool, back = getattr(engine, name), getattr(engine, f"{name}_backward")
    y, dx = pool(x, 2), back(dy, x, 2)
    assert_equal(np.moveaxis(pool(np.moveaxis(x, 1, -1), 2, layout=layout), -1, 1), y)
    last = back(np.moveaxis(dy, 1, -1), np.moveaxis(x, 1, -1), 2, layout=layout)
    assert_equal(np.moveaxis(last, -1, 1), dx)
    assert_equal(pool(x[0], 2), y[0])
    assert_equal(back(dy[1], x[1], 2), dx[1])
    assert_equal(pool(x[0, 0], 2), y[0, 0])
    assert_equal(back(dy[0, 0], x[0, 0], 2), dx[0, 0])
    assert_equal(pool(x.astype(">f8"), 2), y)
    assert_equal(pool(x.tolist(), 2), y)


@pytest.mark.parametrize("memory", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("variant", variants.params("pool3d"))
def test_nan_wins_and_ties_go_to_the_first(variant, kind, dtype, memory):
    rng = np.random.default_rng(7)
    values = rng.integers(0, 2, (2, 19, 5, 6, 7)).astype(dtype)  # nearly all windows are ties
    values[rng.random(values.shape) < 0.1] = np.nan
    values[rng.random(values.shape) < 0.1] = np.inf
    values[rng.random(values.shape) < 0.1] = -np.inf
    x = laid_out(values, memory, rng)
    for kernel, stride, pad in ((3, 2, 1), (2, 2, 0), (5, 3, 2)):
        with variants.level(variant):
            y, indices = getattr(engine, f"{kind}_pool3d")(x, kernel, stride=stride, padding=pad,
                                                           return_indices=True, **variant.options)
        truth, places = naive.extreme_pool(x, naive.Windows(
            (5, 6, 7), (kernel,) * 3, (stride,) * 3, ((pad, pad),) * 3), kind)
        assert_equal(y, truth)
        assert_equal(indices, places)


@pytest.mark.parametrize("rank", (1, 3))
@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_integers_average_in_float64(rank, dtype):
    x = numbers(np.random.default_rng(0), (2, 3, *(4,) * rank), dtype, True)
    windows = naive.Windows((4,) * rank, (2,) * rank)
    average, norm = (getattr(engine, f"{kind}_pool{rank}d")(x, 2) for kind in ("avg", "lp"))
    assert average.dtype == norm.dtype == np.float64
    assert_close(average, naive.avg_pool(x, windows),
                 naive.avg_pool(abs(x.astype(float)), windows), 8)
    assert_close(norm, naive.lp_pool(x, windows), naive.lp_pool(x, windows), 8, "norm")


def test_half_precision_averages_in_float32():
    """Neither the sum nor the mean of a plane is rounded to float16 before the end."""
    x = np.full((1, 1, 4, 4, 4), 60000, np.float16)
    assert engine.global_avg_pool3d(x).item() == np.float16(60000)
    x = np.ones((1, 1, 1, 1, 4096), np.float16)
    assert engine.global_avg_pool1d(x[:, :, 0, 0]).item() == 1
    assert engine.global_lp_pool3d(x, p=1).item() == 4096


# ---- unpooling ---------------------------------------------------------------------------------

@pytest.mark.parametrize("memory", ["nchw", "nhwc", "step"])
@pytest.mark.parametrize("rank", (1, 3))
def test_unpooling(rank, memory):
    rng = np.random.default_rng(2)
    x = laid_out(rng.standard_normal((2, 3, *(7,) * rank)), memory, rng)
    y, indices = getattr(engine, f"max_pool{rank}d")(x, 2, return_indices=True)
    unpool, back = (getattr(engine, f"max_unpool{rank}d{each}") for each in ("", "_backward"))
    for size in (None, (7,) * rank, (8,) * rank):
        places = indices
        if size != (7,) * rank:  # indices are into the result
            grid = np.stack(np.unravel_index(indices, x.shape[2:]))
            places = np.ravel_multi_index(tuple(grid), size or (6,) * rank)
        wide = unpool(y, places, 2, output_size=size)
        assert_equal(wide, naive.max_unpool(y, places, size or (6,) * rank))
        dy = rng.standard_normal(wide.shape)
        assert_equal(back(dy, y, places, 2, output_size=size),
                     naive.max_unpool_backward(dy, places))
        out = np.zeros(wide.shape[::-1]).T
        assert unpool(y, places, 2, output_size=size, out=out) is out
        assert_equal(out, wide)
