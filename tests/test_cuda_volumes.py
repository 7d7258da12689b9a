"""CUDA kernels, emulated, in what is done by several of them: other padding, 3-D, plans."""

import numpy as np
import pytest
from cuda_emulation import Array, emulated, host
from tolerance import assert_equal

import engine
from engine import _plan

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def device():
    with emulated() as device:
        yield device


def integers(*shape):
    return RNG.integers(-4, 5, shape).astype(np.float32)


def last(x):
    """The same with channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def check(device, function, *args, close=False, **options):
    """The same, in the same memory order, as on the host; and again, by replay."""
    expected = function(*args, **options)
    there = [Array(each, device) if isinstance(each, np.ndarray) else each for each in args]
    for _ in range(2):
        results = function(*there, **options)
        assert _plan.last_run().backend == "cuda"
    if not isinstance(expected, tuple):
        expected, results = (expected,), (results,)
    for one, other in zip(results, expected, strict=True):
        if close:
            np.testing.assert_allclose(host(one), other, rtol=1e-5, atol=1e-5)
        else:
            assert_equal(host(one), other)
        assert host(one).strides == other.strides


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("order", [np.ascontiguousarray, last])
def test_padding_modes(device, mode, order):
    x, weight, bias = order(integers(2, 4, 5, 6)), integers(6, 2, 3, 3), integers(6)
    for padding in (((3, 1), (0, 2)), "same"):
        options = {"padding": padding, "padding_mode": mode, "groups": 2}
        check(device, engine.conv2d, x, weight, bias, activation="relu", **options)
        check(device, engine.conv2d_backward, order(engine.conv2d(x, weight, **options)), x, weight,
              **options)


def test_padding_modes_on_other_axes(device):
    check(device, engine.conv1d, integers(4, 9), integers(3, 4, 3), padding=4,
          padding_mode="reflect")
    check(device, engine.conv3d, integers(1, 2, 3, 4, 4), integers(2, 2, 2, 3, 3), padding=1,
          padding_mode="wrap")
    x, weight = integers(1, 3, 5, 5), integers(2, 3, 3, 3)
    options = {"padding": 2, "padding_mode": "edge"}
    assert_equal(engine.conv2d(x, weight, backend="cuda", **options),
                 engine.conv2d(x, weight, **options))


@pytest.mark.parametrize("order", [np.ascontiguousarray, last])
@pytest.mark.parametrize("options", [
    {"padding": 1}, {"stride": (2, 1, 2), "padding": (2, 0, 1)}, {"dilation": 2, "padding": 3},
    {"stride": 3, "activation": "sigmoid"}], ids=str)
def test_convolution(device, order, options):
    x, weight, bias = order(integers(2, 4, 5, 6, 7)), integers(6, 2, 3, 3, 2), integers(6)
    activation = options.get("activation")
    options = {name: each for name, each in options.items() if name != "activation"}
    check(device, engine.conv3d, x, weight, bias, groups=2, activation=activation,
          close=activation is not None, **options)
    dy = order(engine.conv3d(x, weight, groups=2, **options))
    check(device, engine.conv3d_backward, dy, x, weight, groups=2, **options)


def test_halves_are_computed_in_float32(device):
    x, weight = integers(1, 4, 4, 5, 5).astype(np.float16), integers(6, 4, 3, 3, 3)
    check(device, engine.conv3d, x, weight.astype(np.float16))


def test_transposed(device):
    x, weight, bias = integers(2, 4, 3, 4, 4), integers(4, 3, 3, 3, 2), integers(6)
    check(device, engine.conv_transpose3d, x, weight, bias, groups=2, stride=2, activation="relu6")
    dy = engine.conv_transpose3d(x, weight, groups=2, stride=2)
    check(device, engine.conv_transpose3d_backward, dy, x, weight, groups=2, stride=2)


@pytest.mark.parametrize("order", [np.ascontiguousarray, last])
@pytest.mark.parametrize("kind", ["max", "min", "avg", "lp"])
def test_pooling(device, kind, order):
    """Many ties: gradients go to the first of the window."""
    x, close = order(integers(2, 3, 5, 6, 7)), kind in ("avg", "lp")
    options = {"stride": (1, 2, 2), "padding": 1}
    pool, back = (getattr(engine, f"{kind}_pool3d{end}") for end in ("", "_backward"))
    check(device, pool, x, 3, close=close, **options)
    check(device, back, np.round(pool(x, 3, **options)), x, 3, close=close, **options)


def test_other_pools(device):
    x = integers(1, 2, 5, 6, 4)
    check(device, engine.adaptive_max_pool3d, x, (2, 3, 4))
    check(device, engine.adaptive_avg_pool3d, x, (2, 3, 4), close=True)
    check(device, engine.global_max_pool3d, x)


def test_plans(device):
    x, weight, bias = integers(2, 4, 5, 6), integers(6, 2, 3, 3), integers(6)
    options = {"padding": 1, "groups": 2, "activation": "relu", "padding_mode": "wrap"}
    kept = weight.copy(), bias.copy()
    plan = engine.plan_conv2d(x.shape, Array(kept[0], device), Array(kept[1], device), **options)
    expected = engine.conv2d(x, weight, bias, **options)
    for each in kept:
        each[...] = 0
    assert (plan.x_shape, plan.y_shape, plan.dtype) == (x.shape, expected.shape, x.dtype)
    assert_equal(host(plan(Array(x, device))), expected)
    out = np.zeros_like(expected)
    bound = plan.bind(Array(x, device), Array(out, device))
    x *= 2
    bound()
    assert_equal(out, engine.conv2d(x, weight, bias, **options))
    from_host = engine.plan_conv2d(x.shape, weight, bias, backend="cuda", **options)
    assert_equal(from_host(x), out)


@pytest.mark.parametrize(("wrong", "kind", "message"), [
    (lambda d, x, i: engine.max_unpool2d(Array(x, d), Array(i, d), 2), TypeError,
     r"max_unpool2d: `x` is a CUDA array, expected one of the host \(there is no cuda kernel"),
    (lambda d, x, i: engine.max_unpool2d(x, i, 2, backend="cuda"), ValueError,
     'max_unpool2d: `backend` is "cuda", expected one of the host'),
    (lambda d, x, i: engine.max_pool3d(Array(x, d), 2, return_indices=True), ValueError,
     r"max_pool3d: `return_indices` is True, expected False \(in 3-D on CUDA\)"),
    (lambda d, x, i: engine.max_pool3d_backward(Array(x[0, :1, :2, :2], d), (2, 4, 4), 2,
                                                indices=Array(i[0, :1, :2, :2], d)), ValueError,
     r"max_pool3d_backward: `indices` are given, expected none \(in 3-D on CUDA\)"),
    (lambda d, x, i: engine.plan_conv2d(x.shape, Array(x[:, :, :1, :1], d))(Array(x[:, :1], d)),
     ValueError, r"plan_conv2d: `x` has shape \(2, 1, 4, 4\), expected \(2, 2, 4, 4\)"),
    (lambda d, x, i: engine.plan_conv2d(x.shape, Array(x[:, :, :1, :1], d), x[0, :, 0, 0]),
     TypeError, r"plan_conv2d: `bias` is .*, expected a CUDA array \(as the others\)"),
])
def test_message(device, wrong, kind, message):
    x = integers(2, 2, 4, 4)
    with pytest.raises(kind, match=message):
        wrong(device, x, x.astype(int))
