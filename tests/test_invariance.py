"""The same bits for one image alone and in a batch, and for any number of threads."""

import numpy as np
import pytest
import variants
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import FLOATS, conv2d_cases, pool2d_cases
from test_pool2d import arguments

import engine
from engine._problem import Conv2dProblem

THREADS = (2, 3, 7)
LARGE = [  # enough work for several threads, in ways to split it: images, rows, channels, groups
    "mb3g1ic32oc64ih28oh28kh3ph1", "mb2g1ic3oc64ih64oh32kh7sh2ph3", "mb5g1ic6oc16ih14oh10kh5",
    "mb2g1ic128oc130ih7oh7kh3ph1", "mb2g1ic200oc100ih14oh14kh1", "mb3g48ic48oc48ih28oh28kh3ph1",
    "mb2g1ic64oc64ih28oh14kh3sh2ph1", "mb2g4ic32oc64ih20oh20kh3ph1",
    "mb2g1ic32oc32ih28oh28kh3dh1ph2", "mb3g1ic512oc70ih1oh1kh1", "mb9g1ic1100oc300ih1oh1kh1",
]
DEFAULT = pytest.param(None, id="default")


def with_threads(count, call):
    with engine.num_threads(count):
        return call()


def assert_same_bits(one, other, what):
    assert one.tobytes() == other.tobytes(), f"the bits of {what} differ"


def check_conv2d(p, geometry, x, weight, dy, options):
    """Batch and threads, all three directions."""
    options = {**geometry, **options}
    calls = {
        "y": lambda: engine.conv2d(x, weight, **options),
        "dx": lambda: engine.conv2d_backward_data(dy, weight, p.x_shape, **options),
        "dweight": lambda: engine.conv2d_backward_weight(dy, x, p.weight_shape, **options)}
    results = {name: with_threads(1, call) for name, call in calls.items()}
    for name, call in calls.items():
        for count in THREADS:
            assert_same_bits(results[name], with_threads(count, call), f"{name}, {count} threads")
    for i in range(p.n):
        one = slice(i, i + 1)
        assert_same_bits(results["y"][one], engine.conv2d(x[one], weight, **options),
                         f"image {i} of y")
        alone = engine.conv2d_backward_data(dy[one], weight, (1, *p.x_shape[1:]), **options)
        assert_same_bits(results["dx"][one], alone, f"image {i} of dx")


def check_pool2d(case, options):
    p = case.problem
    name, given = arguments(case)
    pool, back = getattr(engine, name), getattr(engine, f"{name}_backward")
    x, dy = case.array("x", p.x_shape), case.array("y", p.y_shape)
    given = {**given, **options}
    y, dx = with_threads(1, lambda: (pool(x, **given), back(dy, x, **given)))
    for count in THREADS:
        again = with_threads(count, lambda: (pool(x, **given), back(dy, x, **given)))
        assert_same_bits(y, again[0], f"y, {count} threads")
        assert_same_bits(dx, again[1], f"dx, {count} threads")
    for i in range(p.n):
        one = slice(i, i + 1)
        assert_same_bits(y[one], pool(x[one], **given), f"image {i} of y")
        assert_same_bits(dx[one], back(dy[one], x[one], **given), f"image {i} of dx")


def forced(op, variant, problem, directions):
    """The options that force the variant, or a skip where it refuses the problem."""
    if variant is None:
        return {}
    for direction in directions:
        reason = variants.refusal(variant, op, problem, direction)
        if reason:
            pytest.skip(reason)
    return variant.options


@pytest.mark.parametrize("memory", ["nchw", "nhwc"])
@pytest.mark.parametrize("geometry", LARGE)
@pytest.mark.parametrize("variant", [DEFAULT, *variants.params("conv2d")])
def test_large_convolutions(variant, geometry, memory):
    p = Conv2dProblem.parse(geometry, order=memory)
    options = forced("conv2d", variant, p, ("forward", "backward_data", "backward_weight"))
    rng = np.random.default_rng(0)
    x, weight, dy = (rng.standard_normal(shape, np.float32) for shape in
                     (p.x_shape, p.weight_shape, p.y_shape))
    if memory == "nhwc":
        x, dy = (np.ascontiguousarray(each.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                 for each in (x, dy))
    given = {"stride": (p.stride_h, p.stride_w), "dilation": (p.dil_h, p.dil_w), "groups": p.g,
             "padding": ((p.pad_t, p.pad_b), (p.pad_l, p.pad_r))}
    with variants.level(variant) if variant else variants.level(variants.Variant("", None, None)):
        check_conv2d(p, given, x, weight, dy, options)


@settings(max_examples=40)
@given(case=conv2d_cases(dtypes=FLOATS))
def test_generated_convolutions(case):
    p = case.problem
    x, weight, dy = (case.rng.standard_normal(shape).astype(p.dtype) for shape in
                     (p.x_shape, p.weight_shape, p.y_shape))
    check_conv2d(p, case.geometry, x, weight, dy, {})


@pytest.mark.parametrize("variant", [DEFAULT, *variants.params("pool2d")])
@settings(max_examples=30)
@given(data=st.data())
def test_generated_pools(variant, data):
    case = data.draw(pool2d_cases(dtypes=FLOATS))
    if variant is None:
        check_pool2d(case, {})
        return
    with variants.level(variant):
        check_pool2d(case, forced("pool2d", variant, case.problem, ("forward", "backward")))


@pytest.mark.parametrize("kind", ["max", "min", "avg", "lp"])
def test_large_pools(kind):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 32, 56, 57), np.float32)
    for each in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        pool, back = getattr(engine, f"{kind}_pool2d"), getattr(engine, f"{kind}_pool2d_backward")
        results = []
        for count in (1, *THREADS):
            with engine.num_threads(count):
                y = pool(each, 3, stride=2, padding=1)
                results.append((y, back(y, each, 3, stride=2, padding=1)))
        for y, dx in results[1:]:
            assert_same_bits(results[0][0], y, "y")
            assert_same_bits(results[0][1], dx, "dx")


@pytest.mark.parametrize("memory", ["nchw", "nhwc"])
def test_volumes(memory):
    """Neither the batch nor threads show in 3-D, whose kernels are those of planes."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((5, 16, 6, 14, 15), np.float32) for _ in range(2))
    if memory == "nhwc":
        x, dy = (np.moveaxis(np.ascontiguousarray(np.moveaxis(each, 1, -1)), -1, 1)
                 for each in (x, dy))
    weight = rng.standard_normal((16, 16, 3, 3, 3), np.float32)

    def results(x, dy):
        return (engine.conv3d(x, weight, padding=1),
                engine.conv3d_backward_data(dy, weight, x.shape, padding=1),
                *(getattr(engine, f"{kind}_pool3d")(x, 3, stride=1, padding=1)
                  for kind in ("max", "avg", "lp")),
                *(getattr(engine, f"{kind}_pool3d_backward")(dy, x, 3, stride=1, padding=1)
                  for kind in ("max", "avg", "lp")))

    def dweight():
        return engine.conv3d_backward_weight(dy, x, weight.shape, padding=1)

    whole, summed = with_threads(1, lambda: results(x, dy)), with_threads(1, dweight)
    for count in THREADS:
        for one, other in zip(whole, with_threads(count, lambda: results(x, dy)), strict=True):
            assert_same_bits(one, other, f"volumes, {count} threads")
        assert_same_bits(summed, with_threads(count, dweight), f"dweight, {count} threads")
    for i in range(len(x)):
        alone = results(x[i:i + 1], dy[i:i + 1])
        for one, other in zip(whole, alone, strict=True):
            assert_same_bits(one[i:i + 1], other, f"image {i}")
