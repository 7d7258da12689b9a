"""1-D and 3-D convolution, all three directions, as test_conv2d.py does it for images."""

import naive
import numpy as np
import pytest
import variants
from arrays import numbers
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FLOATS, Conv1dCase, Conv3dCase, conv1d_cases, conv3d_cases, seeds
from test_conv2d import DIRECTIONS, check, compare
from tolerance import assert_close, assert_equal

import engine
from engine import _plan
from engine._problem import Axis, Conv3dProblem, conv_problem
from engine.kernels import slabs

OP = "conv3d"
CASES = {1: conv1d_cases, 3: conv3d_cases}
RANKS = (1, 3)


@pytest.fixture(autouse=True)
def _small_slabs(monkeypatch):
    """A slab holds few planes, so that there are several of them."""
    monkeypatch.setattr(slabs, "SLAB_BYTES", 20_000)


# ---- generated, hand-picked, replayed ----------------------------------------------------------

@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", variants.params("conv3d"))
@settings(max_examples=60)
@given(data=st.data())
def test_generated_3d(variant, direction, data):
    winograd = variant.algorithm == "winograd"
    case = conv3d_cases(FLOATS, only_3x3=True) if winograd else conv3d_cases()
    check(data.draw(case), variant, direction)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", variants.params("conv2d"))
@settings(max_examples=20)
@given(case=conv1d_cases())
def test_generated_1d(variant, direction, case):
    """The kernels are those of 2-D and tested there: this is about the views of the arrays."""
    check(case, variant, direction)


NASTY = [  # geometry, then the memory of x, weight and y
    ("mb2g1ic1oc1id1ih1oh1kd1kh1", "nchw"),
    ("mb2g1ic3oc5id3ih5oh1kd3kh5", "nhwc"),  # the kernel is as large as the input
    ("mb2g1ic4oc4id9ih5oh3kd2sd4kh3", "nchw"),  # strides jump over planes
    ("mb2g1ic5oc7id8ih6oh4kd3sd2dd1pd1kh3", "nhwc"),  # dilation and stride
    ("mb2g1ic3oc4id2ih5oh5kd3pd4kh3ph1", "nchw"),  # windows that see no plane at all
    ("mb2g33ic33oc33id4ih5oh5kd3pd1kh3ph1", "nchw"),  # depthwise
    ("mb2g3ic6oc9id4ih5oh5kd3pd1kh3ph1", "nhwc"),  # groups
    ("mb5g1ic3oc4id2ih5oh5kd2pd1kh3ph1", "nchw"),  # more images than planes
    ("mb2g1ic16oc16id5ih8oh8kd1kh3ph1", "nhwc"),  # planes by themselves
    ("mb2g1ic16oc8id5ih7oh7kd3pd1kh1", "nchw"),
    ("mb0g1ic3oc4id4ih5oh3kd3kh3", "nchw"),  # an empty batch
    ("mb2g1ic32oc32id3ih14oh14kd3pd1kh3ph1", "nchw"),  # a shape for Winograd
    ("mb2g1ic4oc4id5ih5oh5kd2sd3pd3bd1kh3ph1", "nchw"),  # one-sided padding
]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", variants.params("conv3d"))
def test_nasty(variant, direction):
    for number, (geometry, memory) in enumerate(NASTY):
        dtype = np.dtype(("float32", "uint8", "float16", "float64")[number % 4])
        problem = Conv3dProblem.parse(geometry, dtype=dtype, order=memory, bias=number % 2 == 0)
        check(Conv3dCase(problem, number, (memory,) * 3 + ("none",), number % 3 == 0), variant,
              direction)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", variants.params("conv3d"))
def test_replay(variant, direction, replay):
    check(Conv3dCase.parse(replay), variant, direction)


@given(case=conv3d_cases())
def test_the_line_of_a_problem(case):
    assert Conv3dProblem.parse(str(case.problem)) == case.problem
    assert Conv3dCase.parse(str(case)) == case
    x, weight = (case.array(role, case.shape(role)) for role in ("x", "weight"))
    (explained,) = engine.explain("conv3d", x, weight, case.bias, **case.geometry,
                                  activation=case.plane.activation)
    assert explained.problem in (case.problem, other_order(case.problem))


def other_order(problem):
    text = str(problem)
    swapped = text.replace(":nchw:", ":nhwc:")
    return Conv3dProblem.parse(text.replace(":nhwc:", ":nchw:") if swapped == text else swapped)


# ---- the arguments' other forms ----------------------------------------------------------------

@pytest.mark.parametrize("rank", RANKS)
@given(data=st.data())
@settings(max_examples=40)
def test_named_padding(rank, data):
    def each(low, high):
        return data.draw(st.tuples(*[st.integers(low, high)] * rank))

    size, kernel, stride, dilation = each(1, 7), each(1, 4), each(1, 3), each(1, 2)
    padding = data.draw(st.sampled_from(["valid", "same", "same_lower", "full"]))
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if padding == "valid":
        size, pads = tuple(map(max, size, span)), None
    elif padding == "full":
        pads = tuple((s - 1, s - 1) for s in span)
    else:
        pads = tuple(naive.same_pads(*axis, lower=padding == "same_lower")
                     for axis in zip(size, kernel, stride, dilation, strict=True))
    rng = np.random.default_rng(data.draw(seeds()))
    x, weight = rng.integers(-9, 9, (2, 3, *size)), rng.integers(-9, 9, (4, 3, *kernel))
    y = getattr(engine, f"conv{rank}d")(x, weight, stride=stride, dilation=dilation,
                                        padding=padding)
    assert_equal(y, naive.conv(x, weight, stride=stride, dilation=dilation, pads=pads))


@pytest.mark.parametrize(("padding", "pads"), [
    (1, ((1, 1),)), ((2,), ((2, 2),)), ([1], ((1, 1),)), (((0, 2),), ((0, 2),)),
    (np.int64(2), ((2, 2),)), (np.array([[1, 0]]), ((1, 0),))])
def test_padding_forms_1d(padding, pads):
    x, weight = np.arange(10).reshape(1, 2, 5), np.arange(12).reshape(2, 2, 3)
    assert_equal(engine.conv1d(x, weight, padding=padding), naive.conv(x, weight, pads=pads))


@pytest.mark.parametrize(("padding", "pads"), [
    (1, ((1, 1),) * 3), ((0, 1, 2), ((0, 0), (1, 1), (2, 2))),
    (((0, 1), (2, 3), (1, 0)), ((0, 1), (2, 3), (1, 0)))])
def test_padding_forms_3d(padding, pads):
    x, weight = np.arange(54).reshape(1, 2, 3, 3, 3), np.arange(48).reshape(2, 2, 2, 2, 3)
    assert_equal(engine.conv3d(x, weight, padding=padding), naive.conv(x, weight, pads=pads))


@pytest.mark.parametrize("rank", RANKS)
@given(data=st.data(), mode=st.sampled_from(["reflect", "edge", "wrap"]))
@settings(max_examples=30)
def test_padding_modes(rank, data, mode):
    """As if numpy.pad came first."""
    case = data.draw(CASES[rank](dtypes=("float32", "int16")))
    x, weight = (case.array(role, case.shape(role)) for role in ("x", "weight"))
    y = getattr(engine, case.name)(x, weight, padding_mode=mode, **case.geometry)
    padded = np.pad(x, ((0, 0), (0, 0), *case.pads), mode)
    unpadded = {**case.naive, "pads": None}
    compare(y, naive.conv(padded, weight, **unpadded), case,
            case.plane.ic // case.plane.g * np.prod(case.kernel),
            lambda: naive.conv(abs(padded), abs(weight), **unpadded))


@pytest.mark.parametrize(("rank", "layout"), [(1, "NLC"), (3, "NDHWC")])
@given(data=st.data())
@settings(max_examples=30)
def test_layout_and_fewer_axes(rank, layout, data):
    """Channels last, one image alone and a bare one are other names for the same call."""
    case = data.draw(CASES[rank](dtypes=("float32", "int32")).filter(lambda case: case.exact))
    x, weight, dy = (case.array(role, case.shape(role)) for role in ("x", "weight", "y"))
    conv, back, data_only, weight_only = (getattr(engine, case.name + direction) for direction in
                                          ("", "_backward", "_backward_data", "_backward_weight"))
    options = {**case.geometry, "algorithm": "im2col"}
    y, grads = conv(x, weight, **options), back(dy, x, weight, **options)
    assert_equal(grads.dx, data_only(dy, weight, x.shape, **options))
    assert_equal(grads.dweight, weight_only(dy, x, weight.shape, **options))
    assert_equal(grads.dbias, naive.conv_backward_bias(dy))
    last = conv(np.moveaxis(x, 1, -1), weight, layout=layout, **options)
    assert_equal(np.moveaxis(last, -1, 1), y)
    others = back(np.moveaxis(dy, 1, -1), np.moveaxis(x, 1, -1), weight, layout=layout, **options)
    assert_equal(np.moveaxis(others.dx, -1, 1), grads.dx)
    assert_equal(others.dweight, grads.dweight)
    if len(x):
        assert_equal(conv(x[0], weight, **options), y[0])
        assert_equal(back(dy[0], x[0], weight, **options).dx, grads.dx[0])
        bare, kernel, dbare = x[0, 0], weight[0, 0], dy[0, 0]
        options["groups"] = 1
        assert_equal(conv(bare, kernel, **options), conv(bare[None, None], kernel[None, None],
                                                         **options)[0, 0])
        alone = back(dbare, bare, kernel, **options)
        with_axes = back(dbare[None, None], bare[None, None], kernel[None, None], **options)
        assert_equal(alone.dx, with_axes.dx[0, 0])
        assert_equal(alone.dweight, with_axes.dweight[0, 0])


# ---- transposed --------------------------------------------------------------------------------

@pytest.mark.parametrize("rank", (1, 2, 3))
@given(data=st.data(), dtype=st.sampled_from(["int32", "float64", "float16"]))
@settings(max_examples=40)
def test_transposed(rank, data, dtype):
    def each(low, high):
        return data.draw(st.tuples(*[st.integers(low, high)] * rank))

    size, kernel, stride, dilation = each(1, 5), each(1, 3), each(1, 3), each(1, 2)
    groups, channels = data.draw(st.integers(1, 2)), data.draw(st.sampled_from((1, 3, 16)))
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1))
                  for s, d in zip(stride, dilation, strict=True))
    padding = tuple(min(pad, (n - 1) * s // 2 + d * (k - 1) // 2) for pad, n, s, k, d in
                    zip(each(0, 2), size, stride, kernel, dilation, strict=True))
    rng = np.random.default_rng(data.draw(seeds()))
    x = numbers(rng, (2, groups * channels, *size), dtype, True)
    weight = numbers(rng, (groups * channels, 2, *kernel), dtype, True)
    bias = numbers(rng, 2 * groups, dtype, True)
    geometry = {"stride": stride, "dilation": dilation, "groups": groups}
    given = {**geometry, "padding": padding, "output_padding": extra, "algorithm": "im2col"}
    name = f"conv_transpose{rank}d"
    y = getattr(engine, name)(x, weight, bias, **given)
    assert y.dtype == x.dtype
    assert_equal(y, naive.conv_transpose(x, weight, bias, padding=padding, output_padding=extra,
                                         **geometry))
    dy = numbers(rng, y.shape, dtype, True)
    grads = getattr(engine, f"{name}_backward")(dy, x, weight, **given)
    pads = tuple((pad, pad) for pad in padding)  # it is the backward-data of a convolution
    all_there_is = naive.conv(dy, weight, pads=pads, **geometry)
    assert_equal(grads.dx, all_there_is[(..., *map(slice, size))])
    assert_equal(grads.dweight, naive.conv_backward_weight(x, dy, weight.shape, pads=pads,
                                                           **geometry))
    assert_equal(grads.dbias, naive.conv_backward_bias(dy))
    assert_equal(getattr(engine, f"{name}_backward_data")(dy, weight, x.shape, **given), grads.dx)
    assert_equal(getattr(engine, f"{name}_backward_weight")(dy, x, weight.shape, **given),
                 grads.dweight)
    last = {1: "NLC", 2: "NHWC", 3: "NDHWC"}[rank]
    other = getattr(engine, name)(np.moveaxis(x, 1, -1), weight, bias, layout=last, **given)
    assert_equal(np.moveaxis(other, -1, 1), y)
    assert_equal(getattr(engine, name)(x[0], weight, bias, **given), y[0])


# ---- values ------------------------------------------------------------------------------------

@pytest.mark.parametrize("rank", RANKS)
def test_other_dtypes_and_memory(rank):
    """Mixed dtypes, foreign byte order, lists, read-only arrays."""
    rng = np.random.default_rng(0)
    conv = getattr(engine, f"conv{rank}d")
    x = rng.integers(0, 5, (2, 3, *(4,) * rank))
    weight = rng.integers(0, 5, (4, 3, *(2,) * rank))
    for one, other in (("float32", "float64"), ("uint8", "int8"), ("uint8", "float16"),
                       (">f4", "float32"), (">i2", "<i2")):
        a, b = x.astype(one), weight.astype(other)
        a.flags.writeable = False
        y = conv(a, b)
        assert y.dtype == np.result_type(a, b) and y.dtype.isnative
        assert_equal(y, naive.conv(a.astype(y.dtype), b.astype(y.dtype)))
    assert_equal(conv(x.tolist(), weight.tolist()), naive.conv(x, weight))


@pytest.mark.parametrize("rank", RANKS)
def test_half_precision_is_summed_in_float32(rank):
    """A sum passes 65504 on its way, or grows where float16 no longer sees its terms."""
    shape = (1, 1, *(3,) * rank)
    weight = np.ones((1, 1, *(3,) * rank), np.float16)
    x = np.full(shape, 2048, np.float16)
    x.reshape(-1)[1:] = 1
    assert engine.__dict__[f"conv{rank}d"](x, weight).item() == np.float16(2048 + 3 ** rank - 1)
    big = np.zeros(shape, np.float16)
    big.reshape(-1)[:3] = 60000, 60000, -60000
    assert engine.__dict__[f"conv{rank}d"](big, weight).item() == 60000
    big.reshape(-1)[2] = 0
    assert np.isposinf(engine.__dict__[f"conv{rank}d"](big, weight).item())


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_nan_stays_in_its_planes(direction, dtype):
    rng = np.random.default_rng(3)
    axes = [Axis(6, 6, 3, 1, 1, 1), Axis(9, 5, 3, 2, 1, 1), Axis(8, 8, 3, 1, 1, 1)]
    case = Conv3dCase(conv_problem(2, 1, 5, 7, axes, dtype=np.dtype(dtype)))
    for value in (np.nan, np.inf):
        x, weight, dy = (abs(numbers(rng, case.shape(role), dtype, True)) + np.array(1, dtype)
                         for role in ("x", "weight", "y"))
        (dy if direction == "backward_data" else x)[1, 2, 3, 3, 2] = value
        arrays = {"forward": (x, weight), "backward_data": (dy, weight, x.shape),
                  "backward_weight": (dy, x, weight.shape)}[direction]
        name = "" if direction == "forward" else f"_{direction}"
        actual = getattr(engine, f"conv3d{name}")(*arrays, algorithm="direct", **case.geometry)
        truth = getattr(naive, f"conv{name}")(*arrays, **case.naive)
        assert not np.isfinite(truth).all()
        assert_equal(actual, truth)


def test_a_volume_is_its_planes():
    """A kernel one plane deep is a 2-D convolution of every plane, bit for bit."""
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, 8, 5, 9, 9)), rng.standard_normal((6, 8, 1, 3, 3))
    y = engine.conv3d(x, weight, padding=(0, 1, 1))
    for depth in range(5):
        plane = engine.conv2d(x[:, :, depth], weight[:, :, 0], padding=1)
        assert y[:, :, depth].tobytes() == plane.tobytes()
    line = engine.conv1d(x[:, :, 0, 0], weight[:, :, 0, 0], padding=1)
    assert_close(line, naive.conv(x[:, :, 0, 0], weight[:, :, 0, 0], pads=((1, 1),)), 30.0, 24)


def test_the_algorithm_and_backend_are_the_asked_ones():
    x, weight = np.ones((1, 2, 3, 4, 4), np.float32), np.ones((2, 2, 3, 3, 3), np.float32)
    for backend, algorithm in (("numpy", "im2col"), ("numba", "direct"), ("c", "winograd")):
        (explained,) = engine.explain("conv3d", x, weight, backend=backend, algorithm=algorithm)
        if explained.chosen is None:
            continue
        engine.conv3d(x, weight, backend=backend, algorithm=algorithm)
        assert _plan.last_run()[:4] == ("conv3d", "forward", backend, algorithm)


def test_replayed_lines_of_1d_are_planes():
    """A problem of one axis is one of height 1, so its line is a line of conv2d."""
    case = Conv1dCase(conv_problem(2, 1, 3, 4, [Axis(9, 7, 3)]))
    assert str(case.problem) == "conv2d:f32:nchw:mb2g1ic3oc4ih1iw9oh1ow7kh1kw3sh1dh0ph0"
