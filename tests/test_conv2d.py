"""2-D convolution, all three directions, against the loop nests of naive.py on every variant."""

from dataclasses import replace

import ml_dtypes
import naive
import numpy as np
import pytest
import variants
from arrays import OUTPUT_VIEWS, blank, laid_out, numbers, wrote_outside
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FLOATS, ConvCase, conv2d_cases, seeds
from tolerance import assert_close, assert_equal

import engine
from engine import _plan
from engine._problem import Conv2dProblem, memory_order

OP = "conv2d"
DIRECTIONS = ("forward", "backward_data", "backward_weight")
EXACT = [param for param in variants.params(OP)  # not by fractions of numbers, or parts of them
         if not (param.values[0] and param.values[0].algorithm in ("winograd", "bf16x6"))]


# ---- one case: called, compared ------------------------------------------------------------------

def forward(case, **options):
    p = case.plane
    shape = case.shape("y")
    out = None if case.views[3] == "none" else blank(shape, p.dtype, case.views[3], case.rng)

    def call(x, weight):
        return getattr(engine, case.name)(x, weight, case.bias, activation=p.activation, out=out,
                                          **case.geometry, **options)

    x, weight = case.arrays(call, x=case.shape("x"), weight=case.shape("weight"))
    y = call(x, weight)
    truth = naive.conv(x, weight, case.bias, **case.naive)
    if p.activation == "relu":
        truth = np.maximum(truth.astype(p.dtype) if p.dtype.kind in "iu" else truth, 0)
    if out is None:
        assert_same_order(y, x)
    else:
        assert y is out
    compare(y, truth, case, p.ic // p.g * np.prod(case.kernel) + p.bias,
            lambda: naive.conv(abs(x), abs(weight), abs(case.bias) if p.bias else None,
                               **case.naive))
    assert out is None or not wrote_outside(out), "memory around the elements of out= was written"


def backward_data(case, **options):
    p, shape = case.plane, case.shape("x")

    def call(dy, weight):
        return getattr(engine, f"{case.name}_backward_data")(dy, weight, shape, **case.geometry,
                                                             **options)

    dy, weight = case.arrays(call, y=case.shape("y"), weight=case.shape("weight"))
    dx = call(dy, weight)
    assert_same_order(dx, dy)
    compare(dx, naive.conv_backward_data(dy, weight, shape, **case.naive), case,
            p.oc // p.g * np.prod(case.kernel),
            lambda: naive.conv_backward_data(abs(dy), abs(weight), shape, **case.naive))


def backward_weight(case, **options):
    shape = case.shape("weight")

    def call(dy, x):
        return getattr(engine, f"{case.name}_backward_weight")(dy, x, shape, **case.geometry,
                                                               **options)

    dy, x = case.arrays(call, y=case.shape("y"), x=case.shape("x"))
    dweight = call(dy, x)
    compare(dweight, naive.conv_backward_weight(dy, x, shape, **case.naive), case,
            len(x) * np.prod(case.out),
            lambda: naive.conv_backward_weight(abs(dy), abs(x), shape, **case.naive))


RUN = {"forward": forward, "backward_data": backward_data, "backward_weight": backward_weight}


def compare(actual, truth, case, terms, magnitude):
    """Bit for bit where no sum is rounded, else within the tolerance."""
    assert actual.dtype == case.problem.dtype
    winograd = _plan.last_run().algorithm == "winograd"
    if actual.dtype.kind in "iu" or (case.exact and not winograd):
        assert_equal(actual, truth)
    elif winograd:
        largest = magnitude()
        largest = largest.max(axis=tuple(range(1, largest.ndim)), keepdims=True, initial=0)
        terms = max(terms, 16)  # a tile's 16 gradients are mixed, also where most of them are zero
        if _plan.last_run().direction == "backward_weight":  # mixes pixels that no sum multiplies
            x, dy = case.array("x", case.shape("x")), case.array("y", case.shape("y"))
            products = abs(x).max(initial=0) * abs(dy).max(initial=0)
            largest = max(largest.max(initial=0), 16 * products)
        assert_close(actual, truth, largest, terms, "winograd")
    else:
        assert_close(actual, truth, magnitude(), terms)


def assert_same_order(result, like):
    """A result is contiguous, and channels-last exactly where the array it came from is."""
    if like.flags.c_contiguous and result.size > 1:
        assert result.flags.c_contiguous
    elif memory_order(like) == "nhwc":
        assert np.moveaxis(result, 1, -1).flags.c_contiguous


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

@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", variants.params(OP))
@given(data=st.data())
def test_generated(variant, direction, data):
    check(data.draw(cases_of(variant)), variant, direction)


def cases_of(variant):
    """Problems that the variant can do, or nearly all of them."""
    if variant.algorithm == "winograd":
        return conv2d_cases(FLOATS, only_3x3=True)
    if variant.algorithm == "bf16x6":
        return conv2d_cases([dtype for dtype in FLOATS if dtype != "float64"])
    return conv2d_cases()


NASTY = [  # what kernels get wrong: geometry, then the memory of x, weight and y
    ("g1ic1oc1ih1oh1kh1", "nchw"),  # a single multiplication
    ("mb2g1ic3oc5ih5oh1kh5", "nchw"),  # the kernel is as large as the input
    ("mb2g1ic3oc5ih5iw7oh1ow1kh5kw7", "nhwc"),
    ("g1ic4oc4ih9oh3kh2sh4", "nchw"),  # strides jump over input
    ("mb2g1ic3oc2ih5iw1oh3ow1kh1sh2", "nchw"),  # and lead evenly from row to row
    ("mb2g1ic3oc2ih6iw4oh6ow2kh1sw2", "nchw"),
    ("g1ic4oc4ih9oh3kh2sh4", "nhwc"),
    ("g1ic5oc7ih13oh5kh3sh2dh1", "nchw"),  # dilation and stride together
    ("g1ic5oc7ih13oh5kh3sh2dh1", "nhwc"),
    ("g1ic3oc4ih6iw7oh9ow6kh3ph3pw0", "nchw"),  # padding wider than the kernel reaches, one-sided
    ("g1ic3oc4ih6iw7oh6ow9kh4kw1ph0pw2", "nhwc"),
    ("g1ic3oc4ih1iw1oh1kh3ph1", "nchw"),  # more padding than input
    ("g1ic8oc8ih2oh6kh3ph3", "nhwc"),  # windows that see nothing but padding
    ("mb2g33ic33oc33ih9oh9kh3ph1", "nchw"),  # depthwise
    ("mb2g33ic33oc33ih9oh5kh3sh2ph1", "nhwc"),
    ("mb2g5ic5oc5ih7oh7kh3ph1", "nchw"),  # narrower than a vector
    ("g3ic3oc3ih9iw56oh9ow56kh3ph1", "nchw"),  # and several wide
    ("g2ic2oc4ih12iw37oh12ow37kh3dh1ph2", "nchw"),
    ("g3ic3oc3ih11iw57oh6ow29kh3sh2ph1", "nchw"),
    ("g3ic3oc3ih14oh7kh3sh2ph1", "nchw"),
    ("g16ic16oc48ih8oh8kh3ph1", "nchw"),  # depthwise with a multiplier
    ("g16ic16oc48ih8oh8kh3ph1", "nhwc"),
    ("g3ic51oc6ih7oh7kh3ph1", "nchw"),  # odd groups
    ("mb3g1ic64oc1ih7oh7kh3ph1", "nchw"),  # one output channel
    ("mb3g1ic1oc65ih7oh7kh3ph1", "nhwc"),  # one input channel
    ("mb2g1ic64oc64ih7oh7kh3ph1", "nchw"),  # the smallest images of ResNet
    ("mb2g1ic64oc64ih7oh7kh1", "nhwc"),
    ("mb2g1ic130oc100ih7oh4kh1sh2", "nchw"),  # a strided 1x1
    ("mb2g1ic800oc33ih3oh3kh1", "nchw"),  # 1x1, its channels summed in two chunks
    ("mb2g1ic800oc33ih3oh2kh1sh2", "nhwc"),
    ("g1ic130oc64ih8oh8kh1", "nchw"),  # and enough of them for tiles of AMX
    ("mb0g1ic3oc4ih8oh8kh3ph1", "nchw"),  # an empty batch
    ("mb0g1ic3oc4ih8oh8kh3ph1", "nhwc"),
    ("g1ic2oc3ih1iw200oh1ow200kh1kw9ph0pw4", "nchw"),  # one row
    ("g1ic2oc3ih200iw1oh200ow1kh9kw1ph4pw0", "nhwc"),  # one column
    ("g1ic3oc16ih32oh8kh11sh4ph5", "nchw"),  # the first layer of AlexNet, smaller
    ("g1ic3oc64ih30oh15kh7sh2ph3", "nchw"),  # the first layer of ResNet, smaller
    ("g1ic17oc33ih5iw35oh5ow35kh3ph1", "nchw"),  # widths and channels one past a vector
    ("g1ic31oc15ih5iw31oh5ow31kh3ph1", "nhwc"),  # and one short of it
    ("g1ic16oc16ih12oh8kh3dh1", "nchw"),
    ("g1ic16oc16ih6iw6oh7ow7kh2ph1", "nchw"),  # an even kernel, padded on both sides
    ("g1ic64oc64ih16oh16kh3ph1", "nchw"),  # a shape for Winograd
    ("mb2g1ic64oc70ih15iw18oh15ow18kh3ph1", "nhwc"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "float16"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", variants.params(OP))
def test_nasty(variant, direction, dtype):
    for number, (geometry, memory) in enumerate(NASTY):
        problem = Conv2dProblem.parse(geometry, dtype=np.dtype(dtype), order=memory,
                                      bias=number % 2 == 0)
        for exact in (True, False):
            check(ConvCase(problem, number, (memory,) * 3 + ("none",), exact), variant, direction)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", variants.params(OP))
def test_replay(variant, direction, replay):
    check(ConvCase.parse(replay), variant, direction)


# ---- the arguments' other forms ----------------------------------------------------------------

@given(size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
       kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
       stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
       dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)), seed=seeds(),
       padding=st.sampled_from(["valid", "same", "same_lower", "full"]))
def test_named_padding(size, kernel, stride, dilation, seed, padding):
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if padding == "valid":
        size, pads = [max(each) for each in zip(size, span, strict=True)], naive.NO_PADS
    elif padding == "full":
        pads = tuple((s - 1, s - 1) for s in span)
    else:
        pads = tuple(naive.same_pads(*axis, lower=padding == "same_lower")
                     for axis in zip(size, kernel, stride, dilation, strict=True))
    rng = np.random.default_rng(seed)
    x, weight = rng.integers(-9, 9, (2, 3, *size)), rng.integers(-9, 9, (4, 3, *kernel))
    y = engine.conv2d(x, weight, stride=stride, dilation=dilation, padding=padding)
    assert_equal(y, naive.conv(x, weight, stride=stride, dilation=dilation, pads=pads))
    if padding.startswith("same"):
        assert y.shape[2:] == tuple(-(-n // s) for n, s in zip(size, stride, strict=True))


@pytest.mark.parametrize(("padding", "pads"), [
    (1, ((1, 1), (1, 1))), ((1, 2), ((1, 1), (2, 2))), ([2, 0], ((2, 2), (0, 0))),
    (((0, 1), (2, 3)), ((0, 1), (2, 3))), (np.int64(2), ((2, 2), (2, 2))),
    (np.array([[1, 0], [0, 2]]), ((1, 0), (0, 2)))])
def test_padding_forms(padding, pads):
    x, weight = np.arange(50).reshape(1, 2, 5, 5), np.arange(36).reshape(2, 2, 3, 3)
    assert_equal(engine.conv2d(x, weight, padding=padding), naive.conv(x, weight, pads=pads))


@given(case=conv2d_cases(dtypes=("float64", "float32", "int16")),
       mode=st.sampled_from(["reflect", "edge", "wrap"]))
def test_padding_modes(case, mode):
    """As if numpy.pad came first; its backward is checked as a derivative in test_gradients."""
    p = case.problem
    x, weight = case.array("x", p.x_shape), case.array("weight", p.weight_shape)
    y = engine.conv2d(x, weight, padding_mode=mode, **case.geometry)
    padded = np.pad(x, ((0, 0), (0, 0), *case.pads), mode)
    unpadded = {**case.naive, "pads": naive.NO_PADS}
    truth = naive.conv(padded, weight, **unpadded)
    compare(y, truth, case, p.ic // p.g * p.kh * p.kw,
            lambda: naive.conv(abs(padded), abs(weight), **unpadded))


@pytest.mark.parametrize("variant", EXACT)
@given(case=conv2d_cases(dtypes=("float32", "int32")).filter(lambda case: case.exact))
@settings(max_examples=20)
def test_layout_and_fewer_axes(variant, case):
    """layout="NHWC", (C, H, W) and bare planes are other names for the same call."""
    p = case.problem
    x, weight = case.array("x", p.x_shape), case.array("weight", p.weight_shape)
    dy = case.array("y", p.y_shape)
    options = {**case.geometry, **variant.options}
    with variants.level(variant):
        if any(variants.refusal(variant, OP, p, direction) for direction in DIRECTIONS):
            return
        y = engine.conv2d(x, weight, **options)
        dx, dweight, dbias = engine.conv2d_backward(dy, x, weight, **options)
        last = engine.conv2d(x.transpose(0, 2, 3, 1), weight, layout="NHWC", **options)
        assert_equal(last.transpose(0, 3, 1, 2), y)
        back = engine.conv2d_backward(dy.transpose(0, 2, 3, 1), x.transpose(0, 2, 3, 1), weight,
                                      layout="NHWC", **options)
        assert_equal(back.dx.transpose(0, 3, 1, 2), dx)
        assert_equal(back.dweight, dweight)
        assert_equal(back.dbias, dbias)
        if p.n:
            assert_equal(engine.conv2d(x[0], weight, **options), y[0])
            assert_equal(engine.conv2d_backward_data(dy[0], weight, p.x_shape[1:], **options),
                         dx[0])
        if p.n and p.ic == p.oc == 1:
            assert_equal(engine.conv2d(x[0, 0], weight[0, 0], **options), y[0, 0])


@given(case=conv2d_cases().filter(lambda case: case.exact))
def test_backward_is_its_three_parts(case):
    p = case.problem
    x, weight, dy = (case.array(role, shape) for role, shape in
                     (("x", p.x_shape), ("weight", p.weight_shape), ("y", p.y_shape)))
    geometry = {**case.geometry, "algorithm": "im2col"}
    grads = engine.conv2d_backward(dy, x, weight, **geometry)
    assert_equal(grads.dx, engine.conv2d_backward_data(dy, weight, p.x_shape, **geometry))
    assert_equal(grads.dweight, engine.conv2d_backward_weight(dy, x, p.weight_shape, **geometry))
    assert grads.dbias.dtype == p.dtype
    assert_equal(grads.dbias, naive.conv_backward_bias(dy))
    only = engine.conv2d_backward(dy, x, weight, wrt=("weight",), **geometry)
    assert only.dx is None and only.dbias is None
    assert_equal(only.dweight, grads.dweight)


def test_gradients_of_repeated_calls():
    """A call like an earlier one takes a short way, with whatever memory and threads."""
    rng = np.random.default_rng(0)
    x_shape, weight_shape, y_shape = (2, 3, 9, 9), (4, 3, 3, 3), (2, 4, 7, 7)
    views = "nchw", "nchw", "unaligned", "step", "nhwc", "permuted", "swapped", "nchw"
    for threads, view in zip((2, 2, 2, 1, 1, 2, 2, 1), views, strict=True):
        values = [rng.integers(-9, 9, shape) for shape in (y_shape, x_shape, weight_shape)]
        expected = engine.conv2d_backward(*values, wrt=("x", "weight"))
        dy, x, weight = (laid_out(each.astype(np.float32), view, rng) for each in values)
        with engine.num_threads(threads):
            for dx, dweight in ((engine.conv2d_backward_data(dy, weight, x_shape),
                                 engine.conv2d_backward_weight(dy, x, weight_shape)),
                                engine.conv2d_backward(dy, x, weight)[:2]):
                assert_equal(dx, expected.dx)
                assert_equal(dweight, expected.dweight)


@pytest.mark.parametrize("variant", variants.params(OP))
@given(data=st.data())
@settings(max_examples=40)
def test_plan_is_the_same_convolution(variant, data):
    """For any x of its shape, in any memory, and though the weight it was given changes later."""
    case = data.draw(cases_of(variant))
    p = case.problem
    weight, bias = case.array("weight", p.weight_shape).astype(p.dtype), case.bias
    given = {**case.geometry, **variant.options, "activation": p.activation}
    with variants.level(variant):
        if variants.refusal(variant, OP, p, "forward"):
            variants.counts[variants.REFUSED] += 1
            return
        plan = engine.plan_conv2d(p.x_shape, weight, bias, **given)
        assert plan.y_shape == p.y_shape and plan.dtype == p.dtype
        kept = weight.copy()
        weight[...] = 1
        for view in ("nchw", "nhwc", "nchw", "step", "broadcast", "unaligned"):
            x = replace(case, views=(view,) * 4).array("x", p.x_shape, other=len(view))
            with variants.counted(variant, case):
                y = plan(x)
                variants.assert_ran(variant, OP, "forward")
                truth = engine.conv2d(x, kept, bias, **given)
                assert y.tobytes() == truth.tobytes() and y.strides == truth.strides
                out, same = (blank(p.y_shape, p.dtype, view if view in OUTPUT_VIEWS else "offset",
                                   case.rng) for _ in range(2))
                engine.conv2d(x, kept, bias, out=same, **given)  # another memory, another kernel
                assert plan(x, out=out) is out and out.tobytes() == same.tobytes()
                assert not wrote_outside(out)


@pytest.mark.parametrize("variant", [param for param in variants.params(OP)
                                     if not str(param.id).startswith("numba")])
@given(data=st.data(), view=st.sampled_from((None, *OUTPUT_VIEWS)))
@settings(max_examples=25)
def test_a_residual_is_added_before_the_activation(variant, data, view):
    """Wherever it is, and whoever adds it: the sum is that of NumPy."""
    case = data.draw(cases_of(variant))
    p = case.problem
    given = {**case.geometry, **variant.options}
    with variants.level(variant):
        if variants.refusal(variant, OP, p, "forward"):
            variants.counts[variants.REFUSED] += 1
            return
        x = case.array("x", p.x_shape).astype(p.dtype)
        weight = case.array("weight", p.weight_shape).astype(p.dtype)
        out, same = (blank(p.y_shape, p.dtype, case.views[0] if case.views[0] in OUTPUT_VIEWS
                           else "nhwc", case.rng) for _ in range(2))
        residual = blank(p.y_shape, p.dtype, view, case.rng) if view else np.empty_like(out)
        residual[...] = case.array("x", p.y_shape, other=1)
        engine.plan_conv2d(p.x_shape, weight, case.bias, **given)(x, out=same)
        np.add(same, residual, out=same)
        if p.activation:
            np.maximum(same, 0, out=same)
        with variants.counted(variant, case):
            engine.plan_conv2d(p.x_shape, weight, case.bias, activation=p.activation,
                               **given).bind(x, out, residual)()
        np.testing.assert_array_equal(out, same)
        assert not wrote_outside(out) and not wrote_outside(residual)


# ---- values ------------------------------------------------------------------------------------

MIXED = [("float32", "float64"), ("int8", "float32"), ("uint8", "int8"), ("int64", "float32"),
         ("float16", "float32"), ("uint8", "float16"), (">f4", "float32"), (">i2", "<i2"),
         ("int32", "uint32"), (ml_dtypes.bfloat16, "float32")]


@pytest.mark.parametrize(("x_dtype", "weight_dtype"), MIXED)
def test_mixed_dtypes(x_dtype, weight_dtype):
    """The result has the dtype that NumPy would give x * weight."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, (2, 3, 6, 6)).astype(x_dtype)
    weight = rng.integers(0, 5, (4, 3, 3, 3)).astype(weight_dtype)
    y = engine.conv2d(x, weight)
    assert y.dtype == np.result_type(x, weight) and y.dtype.isnative
    assert_equal(y, naive.conv(x.astype(y.dtype), weight.astype(y.dtype)))


def test_array_likes():
    y = engine.conv2d([[1, 2], [3, 4]], [[1, 0], [0, 1]])
    assert y.tolist() == [[5]] and y.dtype == np.array([1]).dtype


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("variant", EXACT)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nan_and_infinity_stay_where_they_are_seen(variant, direction, dtype):
    """One NaN or infinity reaches the results whose sum holds it, and no other
    (but with Winograd, whose transforms spread it over a tile; parts of it are NaN)."""
    rng = np.random.default_rng(3)
    for geometry in ("mb2g1ic5oc7ih9iw19oh9ow19kh3ph1", "mb2g1ic64oc40ih8oh4kh3sh2ph1",
                     "mb2g17ic17oc17ih9oh9kh3ph1", "mb2g1ic33oc20ih7oh7kh1"):
        p = Conv2dProblem.parse(geometry, dtype=np.dtype(dtype))
        if variants.refusal(variant, OP, p, direction):
            continue
        case = ConvCase(p)
        for value in (np.nan, np.inf, -np.inf):
            x, weight, dy = (abs(numbers(rng, shape, dtype, True)) + np.array(1, dtype)
                             for shape in (p.x_shape, p.weight_shape, p.y_shape))
            spoilt = dy if direction == "backward_data" else x
            spoilt[1, 2, 3, 2] = value
            options = {**case.geometry, **variant.options}
            with variants.level(variant):
                if direction == "forward":
                    actual = engine.conv2d(x, weight, **options)
                    truth = naive.conv(x, weight, **case.naive)
                elif direction == "backward_data":
                    actual = engine.conv2d_backward_data(dy, weight, p.x_shape, **options)
                    truth = naive.conv_backward_data(dy, weight, p.x_shape, **case.naive)
                else:
                    actual = engine.conv2d_backward_weight(dy, x, p.weight_shape, **options)
                    truth = naive.conv_backward_weight(dy, x, p.weight_shape, **case.naive)
                variants.assert_ran(variant, OP, direction)
            assert not np.isfinite(truth).all()
            assert_equal(actual, truth)


@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize("geometry", [
    "mb5g1ic60oc256ih28oh28kh3ph1", "mb3g1ic130oc100ih31oh16kh5sh2ph2",
    "mb2g1ic3oc64ih40oh40kh7ph3"])
@pytest.mark.parametrize("variant", EXACT)
def test_weight_gradient_of_more_than_fits_a_cache(variant, geometry, order):
    p = Conv2dProblem.parse(geometry, dtype=np.dtype("float32"))
    case = ConvCase(p, views=(order, "nchw", order, "none"))
    dy, x = case.array("y", p.y_shape), case.array("x", p.x_shape)
    with variants.level(variant):
        actual = engine.conv2d_backward_weight(dy, x, p.weight_shape, **case.geometry,
                                               **variant.options)
    assert_equal(actual, naive.conv_backward_weight(dy, x, p.weight_shape, **case.naive))


@pytest.mark.parametrize("variant", variants.params(OP))
def test_inputs_are_not_written(variant):
    rng = np.random.default_rng(5)
    for view in ("nchw", "nhwc", "offset", "negative"):
        x, weight, dy = (laid_out(numbers(rng, shape, "float32", False), view, rng) for shape in
                         ((2, 16, 8, 8), (16, 16, 3, 3), (2, 16, 6, 6)))
        bias = numbers(rng, 16, "float32", False)
        memory = [each if each.base is None else each.base for each in (x, weight, dy, bias)]
        before = [each.tobytes() for each in memory]
        with variants.level(variant):
            engine.conv2d(x, weight, bias, activation="relu", **variant.options)
            no_weight = (variant.backend, variant.algorithm) == ("numba", "bf16x6")
            wrt = ("x",) if no_weight else ("x", "weight", "bias")
            engine.conv2d_backward(dy, x, weight, wrt=wrt, **variant.options)
        assert before == [each.tobytes() for each in memory]
