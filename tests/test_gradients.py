"""Every backward against central differences of its forward, in float64, through the public API."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import conv2d_cases, pool2d_cases, seeds
from test_pool2d import arguments
from tolerance import assert_close
from variants import needs

import engine

STEP = 2.0**-17


def assert_gradient(function, at, dy, gradient):
    """`gradient` is the derivative of sum(dy * function(at)), by central differences."""
    numeric, magnitude = np.zeros(at.shape), np.zeros(at.shape)
    moved = at.copy()
    for where in np.ndindex(*at.shape):
        moved[where] = at[where] + STEP
        ahead = dy * function(moved)
        moved[where] = at[where] - STEP
        behind = dy * function(moved)
        moved[where] = at[where]
        numeric[where] = (ahead - behind).sum() / (2 * STEP)
        magnitude[where] = np.abs(ahead).sum() + 1
    assert_close(gradient, numeric, magnitude, 1, "difference")


def small(case):
    p = case.problem
    return p.n * np.prod(p.x_shape[1:]) <= 300 and getattr(p, "macs", 0) <= 20_000


CONVS = conv2d_cases(dtypes=("float64",)).filter(
    lambda case: small(case) and np.prod(case.problem.weight_shape) <= 300)


@settings(max_examples=25)
@given(case=CONVS, mode=st.sampled_from(["constant", "reflect", "edge", "wrap"]))
def test_conv2d(case, mode):
    p = case.problem
    rng = case.rng
    x, weight, bias, dy = (rng.standard_normal(shape) for shape in
                           (p.x_shape, p.weight_shape, p.oc, p.y_shape))
    geometry = {**case.geometry, "padding_mode": mode}
    dx, dweight, dbias = engine.conv2d_backward(dy, x, weight, **geometry)
    assert_gradient(lambda each: engine.conv2d(each, weight, bias, **geometry), x, dy, dx)
    assert_gradient(lambda each: engine.conv2d(x, each, bias, **geometry), weight, dy, dweight)
    assert_gradient(lambda each: engine.conv2d(x, weight, each, **geometry), bias, dy, dbias)


@pytest.mark.parametrize("kind", ["max", "min", "avg", "lp"])
@settings(max_examples=25)
@given(data=st.data())
def test_pool2d(kind, data):
    case = data.draw(pool2d_cases(kinds=(kind,), dtypes=("float64",)).filter(small))
    x, dy = (case.rng.standard_normal(shape) for shape in
             (case.problem.x_shape, case.problem.y_shape))
    if kind == "lp":  # differences leave out higher derivatives, which have a pole at 0
        x += np.copysign(0.25, x)
    name, given = arguments(case)
    dx = getattr(engine, f"{name}_backward")(dy, x, **given)
    assert_gradient(lambda each: getattr(engine, name)(each, **given), x, dy, dx)


@pytest.mark.parametrize("name", ["global_max_pool2d", "global_min_pool2d", "global_avg_pool2d",
                                  "global_lp_pool2d"])
def test_global_pools(name):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 1, 1))
    dx = getattr(engine, f"{name}_backward")(dy, x)
    assert_gradient(getattr(engine, name), x, dy, dx)


@pytest.mark.parametrize("kind", ["max", "avg"])
@settings(max_examples=15)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
       out=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=seeds())
def test_adaptive_pools(kind, size, out, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((1, 2, *size)), rng.standard_normal((1, 2, *out))
    name = f"adaptive_{kind}_pool2d"
    dx = getattr(engine, f"{name}_backward")(dy, x, out)
    assert_gradient(lambda each: getattr(engine, name)(each, out), x, dy, dx)


@needs("max_unpool2d")
def test_max_unpool2d():
    rng = np.random.default_rng(0)
    pooled, indices = engine.max_pool2d(rng.standard_normal((2, 3, 6, 8)), 2, return_indices=True)
    dy = rng.standard_normal((2, 3, 6, 8))
    dx = engine.max_unpool2d_backward(dy, pooled, indices, 2)
    assert_gradient(lambda each: engine.max_unpool2d(each, indices, 2), pooled, dy, dx)


@needs("conv_transpose2d")
@pytest.mark.parametrize("geometry", [
    {}, {"stride": 2}, {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)},
    {"groups": 2, "dilation": 2}])
def test_conv_transpose2d(geometry):
    rng = np.random.default_rng(0)
    groups = geometry.get("groups", 1)
    x, weight, bias = (rng.standard_normal(shape) for shape in
                       ((2, 4, 4, 3), (4, 6 // groups, 3, 2), 6))
    dy = rng.standard_normal(engine.conv_transpose2d(x, weight, **geometry).shape)
    dx, dweight, dbias = engine.conv_transpose2d_backward(dy, x, weight, **geometry)

    def call(x, weight, bias):
        return engine.conv_transpose2d(x, weight, bias, **geometry)

    assert_gradient(lambda each: call(each, weight, bias), x, dy, dx)
    assert_gradient(lambda each: call(x, each, bias), weight, dy, dweight)
    assert_gradient(lambda each: call(x, weight, each), bias, dy, dbias)


def test_the_truth_itself():
    """naive.py's backwards are the derivatives of its forwards."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 4, 6, 5)), rng.standard_normal((6, 2, 3, 2))
    geometry = {"stride": (2, 1), "pads": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}
    dy = rng.standard_normal(naive.conv(x, weight, **geometry).shape)
    assert_gradient(lambda each: naive.conv(each, weight, **geometry), x, dy,
                    naive.conv_backward_data(dy, weight, x.shape, **geometry))
    assert_gradient(lambda each: naive.conv(x, each, **geometry), weight, dy,
                    naive.conv_backward_weight(dy, x, weight.shape, **geometry))
    plane = naive.Windows((6, 5), (3, 2), (2, 1), ((1, 1), (1, 0)), (1, 1), ceil_mode=True)
    dy = rng.standard_normal((2, 4, *plane.out))
    _, places = naive.extreme_pool(x, plane)
    assert_gradient(lambda each: naive.extreme_pool(each, plane)[0], x, dy,
                    naive.extreme_pool_backward(dy, places, x.shape))
    assert_gradient(lambda each: naive.avg_pool(each, plane), x, dy,
                    naive.avg_pool_backward(dy, x.shape, plane))
    assert_gradient(lambda each: naive.lp_pool(each, plane, 3), x, dy,
                    naive.lp_pool_backward(dy, x, plane, 3))
