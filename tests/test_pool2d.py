"""2-D pooling of every kind, both directions, against the loop nests of naive.py."""

import naive
import numpy as np
import pytest
import variants
from arrays import blank, laid_out, numbers, wrote_outside
from hypothesis import given
from hypothesis import strategies as st
from strategies import FLOATS, PoolCase, pool2d_cases, seeds, views
from test_conv2d import assert_same_order
from tolerance import assert_close, assert_equal

import engine
from engine._problem import Pool2dProblem, named_dtype

OP = "pool2d"
EXTREMES = ("max", "min")


def windows(case):
    if case.plane.adaptive:
        return naive.AdaptiveWindows(case.size, case.out)
    found = naive.Windows(case.size, case.kernel, case.stride, case.pads, case.dilation,
                          case.ceil_mode)
    assert found.out == case.out, f"{case} is no pooling: its output is {found.out}"
    return found


def summed(case):
    """How many elements of x an output may see, and how many outputs an element of x."""
    if case.plane.adaptive:
        return (np.prod([axis.kernel + 1 for axis in case.axes]),
                np.prod([axis.out // axis.size + 2 for axis in case.axes]))
    return (np.prod(case.kernel),) * 2


def arguments(case):
    """(name of the public function, its arguments after x)."""
    p = case.plane
    if p.adaptive:
        return f"adaptive_{p.kind}_pool{case.rank}d", {"output_size": case.out}
    given = {"kernel_size": case.kernel, "stride": case.stride, "padding": case.pads,
             "dilation": case.dilation, "ceil_mode": case.ceil_mode}
    extra = {"avg": {"count_include_pad": p.count_include_pad}, "lp": {"p": p.p}}
    return f"{p.kind}_pool{case.rank}d", given | extra.get(p.kind, {})


# ---- one case: called, compared ------------------------------------------------------------------

def forward(case, **options):
    p, shape = case.plane, case.shape("y")
    out = None if case.views[3] == "none" else blank(shape, p.dtype, case.views[3], case.rng)
    name, given = arguments(case)

    def call(x):
        return getattr(engine, name)(x, out=out, **given, **options)

    [x] = case.arrays(call, x=case.shape("x"))
    y = call(x)
    assert y.dtype == p.dtype
    if out is None:
        assert_same_order(y, x)
    else:
        assert y is out
    if p.kind in EXTREMES:
        truth, places = naive.extreme_pool(x, windows(case), p.kind)
        assert_equal(y, truth)
        again, indices = getattr(engine, name)(x, return_indices=True, **given, **options)
        assert indices.dtype == np.int64
        assert_equal(again, truth)
        assert_equal(indices, places)
    elif p.kind == "avg":
        magnitude = naive.avg_pool(abs(x), windows(case), p.count_include_pad)
        assert_close(y, naive.avg_pool(x, windows(case), p.count_include_pad), magnitude,
                     summed(case)[0])
    else:
        truth = naive.lp_pool(x, windows(case), p.p)
        assert_close(y, truth, truth, summed(case)[0], "norm")
    if out is not None:
        assert not wrote_outside(out), "memory around the elements of out= was written"


def backward(case, **options):
    p, x_shape = case.plane, case.shape("x")
    name, given = arguments(case)

    def call(dy, x):
        return getattr(engine, f"{name}_backward")(dy, x, **given, **options)

    dy, x = case.arrays(call, y=case.shape("y"), x=x_shape)
    dx = call(dy, x)
    assert dx.dtype == p.dtype
    terms = summed(case)[1]
    if p.kind in EXTREMES:
        _, places = naive.extreme_pool(x, windows(case), p.kind)
        truth = naive.extreme_pool_backward(dy, places, x_shape)
        if p.dtype.kind in "iu" or case.exact:
            assert_equal(dx, truth)
        else:
            assert_close(dx, truth, naive.extreme_pool_backward(abs(dy), places, x_shape), terms)
        by_index = getattr(engine, f"{name}_backward")(dy, x_shape, indices=places, **given,
                                                       **options)
        assert_equal(by_index, dx)
    elif p.kind == "avg":
        truth, magnitude = (naive.avg_pool_backward(each, x_shape, windows(case),
                                                    p.count_include_pad)
                            for each in (dy, abs(dy)))
        assert_close(dx, truth, magnitude, terms)
    else:
        truth, magnitude = (naive.lp_pool_backward(*each, windows(case), p.p)
                            for each in ((dy, x), (abs(dy), abs(x))))
        assert_close(dx, truth, magnitude, terms, "norm")


RUN = {"forward": forward, "backward": backward}


def check(case, variant, direction):
    """Run one case on one variant, or see that it is refused for the reason it gives."""
    with variants.level(variant):
        reason = variants.refusal(variant, case.family, case.problem, direction)
        if reason is not None:
            variants.counts[variants.REFUSED] += 1
            with pytest.raises(ValueError) as error:
                RUN[direction](case, **variant.options)
            assert reason in str(error.value)
            return
        with variants.counted(variant, case):
            RUN[direction](case, **variant.options)
            variants.assert_ran(variant, case.family, direction)


# ---- generated, hand-picked, replayed ----------------------------------------------------------

@pytest.mark.parametrize("kind", ["max", "min", "avg", "lp"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("variant", variants.params(OP))
@given(data=st.data())
def test_generated(variant, direction, kind, data):
    check(data.draw(pool2d_cases(kinds=(kind,))), variant, direction)


NASTY = [  # geometry, then the memory of x and y
    ("ic1ih1kh1", "nchw"),
    ("mb2ic3ih5iw7oh1ow1kh5kw7", "nchw"),  # the whole plane
    ("mb2ic33ih5iw7oh1ow1kh5kw7", "nhwc"),
    ("mb2ic6ih28kh2sh2", "nchw"),  # LeNet
    ("mb2ic17ih13kh3sh2", "nhwc"),  # AlexNet
    ("ic5ih14kh3sh2ph1", "nchw"),  # ResNet
    ("ic5ih14kh3sh2ph1", "nhwc"),
    ("ic7ih9iw35kh3sh1ph1", "nchw"),  # GoogLeNet
    ("ic7ih9iw35kh3sh1ph1", "nhwc"),
    ("ic3ih9oh3kh2sh4", "nchw"),  # strides jump over input
    ("ic3ih6oh3kh3sh2dh0", "nchw"),  # ceil_mode: the last window hangs over
    ("ic16ih6oh3kh3sh2dh0", "nhwc"),
    ("ic4ih15iw16oh8ow8kh2sh2", "nchw"),  # ceil_mode along one axis
    ("mb2ic5ih2iw3oh1ow1kh4kw5sh3sw3ph0pw0", "nchw"),  # one window, larger than the plane
    ("mb2ic17ih2iw20oh1ow5kh4kw5sh3sw4ph0pw0", "nhwc"),
    ("ic4ih9iw33kh3sh2dh1", "nchw"),  # dilation and stride
    ("ic65ih9iw8kh3sh1dh1ph1", "nhwc"),
    ("ic3ih4iw64kh1kw5sh1sw3ph0pw2", "nchw"),
    ("ic3ih64iw4kh5kw1sh3sw1ph2pw0", "nhwc"),
    ("ic3ih6iw6oh4ow2kh3kw4sh2sw2ph1pw0bh2bw0", "nchw"),  # one-sided padding
    ("mb0ic3ih8kh2sh2", "nchw"),
    ("ic2ih5iw70kh5kw7sh1sw1ph2pw3", "nchw"),  # large windows that overlap
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "float16"])
@pytest.mark.parametrize("kind", ["max", "min", "avg", "lp"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("variant", variants.params(OP))
def test_nasty(variant, direction, kind, dtype):
    if kind in ("avg", "lp") and dtype not in FLOATS:
        pytest.skip("integers become float64 first, see test_integers_average_in_float64")
    for number, (geometry, memory) in enumerate(NASTY):
        problem = Pool2dProblem.parse(geometry, kind, dtype=np.dtype(dtype), order=memory)
        check(PoolCase(problem, number, (memory,) * 3 + ("none",), number % 2 == 0), variant,
              direction)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("variant", variants.params(OP))
def test_replay(variant, direction, replay):
    check(PoolCase.parse(replay), variant, direction)


@st.composite
def adaptive_cases(draw):
    (ih, iw), (oh, ow) = (draw(st.tuples(st.integers(1, 20), st.integers(1, 40)))
                          for _ in range(2))
    problem = Pool2dProblem(
        kind=draw(st.sampled_from(("max", "avg"))), n=draw(st.integers(0, 3)),
        c=draw(st.sampled_from((1, 3, 16, 33))), ih=ih, iw=iw, oh=oh, ow=ow, kh=-(-ih // oh),
        kw=-(-iw // ow), adaptive=True,
        dtype=named_dtype(draw(st.sampled_from(("float32", "float64", "float16")))))
    return PoolCase(problem, draw(seeds()), draw(views()), draw(st.booleans()))


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("variant", variants.params(OP))
@given(case=adaptive_cases())
def test_adaptive(variant, direction, case):
    check(case, variant, direction)


# ---- the whole plane; other dtypes; special values ---------------------------------------------

@pytest.mark.parametrize("kind", ["max", "min", "avg", "lp"])
@given(shape=st.tuples(st.integers(0, 3), st.integers(1, 20), st.integers(1, 9),
                       st.integers(1, 40)), memory=views(), seed=seeds())
def test_global(kind, shape, memory, seed):
    """global_* is the pooling whose window is the plane."""
    rng = np.random.default_rng(seed)
    x = laid_out(numbers(rng, shape, "float32", True), memory[0], rng)
    dy = laid_out(numbers(rng, (*shape[:2], 1, 1), "float32", True), memory[2], rng)
    name, plane = f"{kind}_pool2d", {"kernel_size": shape[2:]}
    assert_equal(getattr(engine, f"global_{name}")(x), getattr(engine, name)(x, **plane))
    assert_equal(getattr(engine, f"global_{name}_backward")(dy, x),
                 getattr(engine, f"{name}_backward")(dy, x, **plane))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64", "int64"])
def test_integers_average_in_float64(dtype):
    x = numbers(np.random.default_rng(0), (2, 3, 6, 6), dtype, True)
    plane = naive.Windows((6, 6), (2, 2))
    average, norm = engine.avg_pool2d(x, 2), engine.lp_pool2d(x, 2)
    assert average.dtype == norm.dtype == np.float64
    assert_close(average, naive.avg_pool(x, plane), naive.avg_pool(abs(x.astype(float)), plane),
                 4)
    assert_close(norm, naive.lp_pool(x, plane), naive.lp_pool(x, plane), 4, "norm")


@pytest.mark.parametrize("memory", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("variant", variants.params(OP))
def test_nan_wins_and_ties_go_to_the_first(variant, kind, dtype, memory):
    rng = np.random.default_rng(7)
    values = rng.integers(0, 2, (2, 19, 12, 21)).astype(dtype)  # nearly all windows are ties
    values[rng.random(values.shape) < 0.1] = np.nan
    values[rng.random(values.shape) < 0.05] = np.inf
    values[rng.random(values.shape) < 0.05] = -np.inf
    x = laid_out(values, memory, rng)
    problem = Pool2dProblem.parse("mb2ic19ih12iw21kh3", kind, dtype=x.dtype, order=memory)
    reason = variants.refusal(variant, OP, problem, "forward")
    if reason:
        pytest.skip(reason)
    for kernel, stride, pad in ((3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2)):
        with variants.level(variant):
            y, indices = getattr(engine, f"{kind}_pool2d")(x, kernel, stride=stride, padding=pad,
                                                           return_indices=True, **variant.options)
        truth, places = naive.extreme_pool(
            x, naive.Windows((12, 21), (kernel,) * 2, (stride,) * 2, ((pad, pad),) * 2), kind)
        assert_equal(y, truth)
        assert_equal(indices, places)


@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("variant", variants.params(OP))
def test_padding_never_wins(variant, kind):
    """Not even against the extreme value of the dtype."""
    for dtype, worst in (("float32", (-np.inf, np.inf)), ("int8", (-128, 127)),
                         ("uint8", (0, 255))):
        x = np.full((1, 3, 5, 18), worst[kind == "min"], dtype)
        with variants.level(variant):
            y, indices = getattr(engine, f"{kind}_pool2d")(x, 3, stride=2, padding=1,
                                                           return_indices=True, **variant.options)
        truth, places = naive.extreme_pool(
            x, naive.Windows((5, 18), (3, 3), (2, 2), ((1, 1), (1, 1))), kind)
        assert_equal(y, truth)
        assert_equal(indices, places)


@pytest.mark.parametrize("variant", variants.params(OP))
def test_gradient_of_a_zero_norm_is_zero(variant):
    x, dy = np.zeros((1, 2, 4, 4)), np.ones((1, 2, 2, 2))
    for p in (1, 2, 3):
        with variants.level(variant):
            assert not engine.lp_pool2d_backward(dy, x, 2, p=p, **variant.options).any()


@pytest.mark.parametrize("kind", ["max", "min", "avg", "lp"])
def test_layout_and_fewer_axes(kind):
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((2, 3, 8, 9)), rng.standard_normal((2, 3, 4, 4))
    pool, back = getattr(engine, f"{kind}_pool2d"), getattr(engine, f"{kind}_pool2d_backward")
    y, dx = pool(x, 2), back(dy, x, 2)
    last = pool(x.transpose(0, 2, 3, 1), 2, layout="NHWC")
    assert_equal(last.transpose(0, 3, 1, 2), y)
    last = back(dy.transpose(0, 2, 3, 1), x.transpose(0, 2, 3, 1), 2, layout="NHWC")
    assert_equal(last.transpose(0, 3, 1, 2), dx)
    assert_equal(pool(x[0], 2), y[0])
    assert_equal(back(dy[1], x[1], 2), dx[1])
    assert_equal(pool(x[0, 0], 2), y[0, 0])
    assert_equal(back(dy[0, 0], x[0, 0], 2), dx[0, 0])
