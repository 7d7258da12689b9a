"""PyTorch as a second truth, for the rules that loop nests of our own could share a mistake in.

Integer-valued float32 data: sums are exact in any order, so equality is bit for bit; averages and
norms are compared in float64.
"""

import naive
import numpy as np
import pytest
from tolerance import assert_close, assert_equal
from variants import needs

import engine

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

CONVS = [  # x, weight, and the arguments that both libraries share
    ((2, 3, 8, 8), (4, 3, 3, 3), {}),
    ((2, 3, 8, 9), (5, 3, 3, 2), {"stride": 2, "padding": 1}),
    ((1, 6, 10, 7), (9, 2, 3, 3), {"groups": 3, "padding": (2, 0), "stride": (1, 2)}),
    ((2, 8, 9, 9), (16, 1, 3, 3), {"groups": 8, "dilation": 2}),
    ((3, 16, 13, 13), (33, 16, 5, 5), {"padding": 2, "stride": 3, "dilation": (1, 2)}),
    ((2, 4, 7, 7), (6, 4, 1, 1), {"stride": 2}),
    ((2, 3, 12, 12), (4, 3, 4, 4), {"padding": "valid"}),
    ((2, 3, 12, 11), (4, 3, 3, 5), {"padding": "same"}),
    ((2, 3, 12, 11), (4, 3, 4, 2), {"padding": "same", "dilation": (2, 1)}),
    ((2, 64, 14, 14), (64, 64, 3, 3), {"padding": 1}),
    ((5, 5, 5), (2, 5, 3, 3), {}),
]
POOLS = [  # kernel_size, stride, padding, ceil_mode
    (2, None, 0, False), (3, 2, 1, False), (3, 2, 1, True), ((3, 2), (2, 3), (1, 0), True),
    (2, 3, 1, True), (5, 1, 2, False), ((1, 4), (1, 4), 0, True), (3, 3, 0, True),
]
ADAPTIVE = [(1, 1), (3, 4), (7, 5), (10, 11), (12, 13)]


def integers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).integers(-6, 7, shape).astype(np.float32)


def tracked(array):
    return torch.tensor(array, requires_grad=True)


def gradient(y, dy, *inputs):
    return [each.numpy() for each in torch.autograd.grad(y, inputs, torch.tensor(dy))]


@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize(("x_shape", "weight_shape", "geometry"), CONVS)
def test_conv2d(x_shape, weight_shape, geometry, order):
    x, weight, bias = integers(*x_shape), integers(*weight_shape), integers(weight_shape[0])
    if order == "nhwc":
        x = np.ascontiguousarray(np.moveaxis(x, -3, -1))
        x = np.moveaxis(x, -1, -3)
    tensors = [tracked(each.copy()) for each in (x, weight, bias)]
    expected = F.conv2d(*tensors, **geometry)
    assert_equal(engine.conv2d(x, weight, bias, algorithm="im2col", **geometry),
                 expected.detach().numpy())
    dy = integers(*expected.shape, seed=1)
    wanted = gradient(expected, dy, *tensors)
    for name, actual, each in zip(("dx", "dweight", "dbias"), engine.conv2d_backward(
            dy, x, weight, algorithm="im2col", **geometry), wanted, strict=True):
        assert np.array_equal(actual, each), name


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode"), POOLS)
def test_max_pool2d(kernel, stride, padding, ceil_mode, dilation):
    x = integers(2, 5, 11, 13)
    given = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode, "dilation": dilation}
    tensor = tracked(x)
    expected, places = F.max_pool2d(tensor, kernel, return_indices=True, **given)
    y, indices = engine.max_pool2d(x, kernel, return_indices=True, **given)
    assert_equal(y, expected.detach().numpy())
    assert_equal(indices, places.numpy())
    dy = integers(*y.shape, seed=1)
    assert_equal(engine.max_pool2d_backward(dy, x, kernel, **given),
                 gradient(expected, dy, tensor)[0])
    assert_equal(-engine.min_pool2d(-x, kernel, **given), y)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding", "ceil_mode"), POOLS)
def test_avg_pool2d(kernel, stride, padding, ceil_mode, count_include_pad):
    x = integers(2, 5, 11, 13).astype(np.float64)
    given = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode,
             "count_include_pad": count_include_pad}
    tensor = tracked(x)
    expected = F.avg_pool2d(tensor, kernel, **given)
    y = engine.avg_pool2d(x, kernel, **given)
    assert_close(y, expected.detach().numpy(), 6.0, 25)
    dy = integers(*y.shape, seed=1).astype(np.float64)
    assert_close(engine.avg_pool2d_backward(dy, x, kernel, **given),
                 gradient(expected, dy, tensor)[0], 25.0, 25)


@pytest.mark.parametrize(("kernel", "stride"), [(2, None), (3, 2), ((2, 3), (3, 1))])
def test_lp_pool2d(kernel, stride):
    """Where PyTorch's rule is the norm: an even p, no overhanging window."""
    x = integers(2, 5, 11, 13).astype(np.float64)
    tensor = tracked(x)
    expected = F.lp_pool2d(tensor, 4.0, kernel, stride)
    y = engine.lp_pool2d(x, kernel, stride=stride, p=4)
    assert_close(y, expected.detach().numpy(), expected.detach().numpy(), 9, "norm")
    if (y > 0).all():
        dy = integers(*y.shape, seed=1).astype(np.float64)
        assert_close(engine.lp_pool2d_backward(dy, x, kernel, stride=stride, p=4),
                     gradient(expected, dy, tensor)[0], 60.0, 9, "norm")


@pytest.mark.parametrize("out", ADAPTIVE)
def test_adaptive_pools(out):
    x = integers(2, 5, 11, 13)
    tensor, double = tracked(x), tracked(x.astype(np.float64))
    expected = F.adaptive_max_pool2d(tensor, out)
    dy = integers(*expected.shape, seed=1)
    assert_equal(engine.adaptive_max_pool2d(x, out), expected.detach().numpy())
    assert_equal(engine.adaptive_max_pool2d_backward(dy, x, out),
                 gradient(expected, dy, tensor)[0])
    average = F.adaptive_avg_pool2d(double, out)
    assert_close(engine.adaptive_avg_pool2d(x.astype(float), out), average.detach().numpy(), 6.0,
                 143)
    assert_close(engine.adaptive_avg_pool2d_backward(dy.astype(float), x.astype(float), out),
                 gradient(average, dy.astype(float), double)[0], 25.0, 143)


@needs("max_unpool2d")
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "out"), [
    ((8, 10), 2, None, 0, None), ((9, 9), 3, 2, 1, None), ((9, 11), 2, 2, 0, (9, 11))])
def test_max_unpool2d(size, kernel, stride, padding, out):
    x = np.random.default_rng(0).permutation(6 * size[0] * size[1]).reshape(2, 3, *size)
    x = x.astype(np.float32)
    pooled, indices = engine.max_pool2d(x, kernel, stride=stride, padding=padding,
                                        return_indices=True)
    tensor = tracked(pooled.copy())
    expected = F.max_unpool2d(tensor, torch.tensor(indices), kernel, stride, padding, out)
    given = {"stride": stride, "padding": padding, "output_size": out}
    assert_equal(engine.max_unpool2d(pooled, indices, kernel, **given), expected.detach().numpy())
    assert_equal(naive.max_unpool(pooled, indices, expected.shape[2:]),
                 expected.detach().numpy())
    dy = integers(*expected.shape, seed=1)
    assert_equal(engine.max_unpool2d_backward(dy, pooled, indices, kernel, **given),
                 gradient(expected, dy, tensor)[0])


@needs("conv_transpose2d")
@pytest.mark.parametrize(("x_shape", "weight_shape", "geometry"), [
    ((2, 3, 5, 5), (3, 4, 3, 3), {}),
    ((2, 3, 5, 6), (3, 4, 3, 2), {"stride": 2, "padding": 1}),
    ((2, 4, 4, 5), (4, 3, 3, 3), {"stride": (2, 3), "groups": 2, "output_padding": (1, 2)}),
    ((1, 16, 7, 7), (16, 8, 4, 4), {"stride": 2, "padding": 1, "dilation": 2}),
    ((3, 4, 4), (3, 2, 3, 3), {"padding": 2}),
])
def test_conv_transpose2d(x_shape, weight_shape, geometry):
    channels = weight_shape[1] * geometry.get("groups", 1)
    x, weight, bias = integers(*x_shape), integers(*weight_shape), integers(channels)
    tensors = [tracked(each) for each in (x, weight, bias)]
    expected = F.conv_transpose2d(*tensors, **geometry)
    assert_equal(engine.conv_transpose2d(x, weight, bias, **geometry), expected.detach().numpy())
    dy = integers(*expected.shape, seed=1)
    wanted = gradient(expected, dy, *tensors)
    actual = engine.conv_transpose2d_backward(dy, x, weight, **geometry)
    for each, other in zip(actual, wanted, strict=True):
        assert_equal(each, other)


@pytest.mark.parametrize("rank", (1, 3))
def test_other_ranks(rank):
    """Convolutions, transposed ones and pools of lines and volumes, with their gradients."""
    x, weight = integers(2, 4, *(7, 6, 5)[:rank]), integers(6, 2, *(3, 2, 3)[:rank])
    for name, given in (("conv", {"stride": 2, "padding": 1, "groups": 2}),
                        ("conv_transpose", {"stride": 2, "padding": 1, "output_padding": 1})):
        inputs = [x, weight if name == "conv" else integers(4, 3, *weight.shape[2:])]
        tensors = [tracked(each) for each in inputs]
        expected = getattr(F, f"{name}{rank}d")(*tensors, **given)
        dy = integers(*expected.shape, seed=1)
        assert_equal(getattr(engine, f"{name}{rank}d")(*inputs, algorithm="im2col", **given),
                     expected.detach().numpy())
        grads = getattr(engine, f"{name}{rank}d_backward")(dy, *inputs, algorithm="im2col",
                                                           **given)
        for actual, wanted in zip(grads, gradient(expected, dy, *tensors), strict=False):
            assert_equal(actual, wanted)
    tensor = tracked(x)
    expected, places = getattr(F, f"max_pool{rank}d")(tensor, 3, 2, 1, ceil_mode=True,
                                                      return_indices=True)
    given = {"stride": 2, "padding": 1, "ceil_mode": True}
    y, indices = getattr(engine, f"max_pool{rank}d")(x, 3, return_indices=True, **given)
    assert_equal(y, expected.detach().numpy())
    assert_equal(indices, places.numpy())
    dy = integers(*y.shape, seed=1)
    assert_equal(getattr(engine, f"max_pool{rank}d_backward")(dy, x, 3, **given),
                 gradient(expected, dy, tensor)[0])
    for include in (True, False):
        expected = getattr(F, f"avg_pool{rank}d")(tensor, 3, 2, 1, ceil_mode=True,
                                                  count_include_pad=include)
        y = getattr(engine, f"avg_pool{rank}d")(x, 3, count_include_pad=include, **given)
        assert_close(y, expected.detach().numpy().astype(np.float64), 6.0, 27)
