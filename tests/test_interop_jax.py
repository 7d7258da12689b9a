"""engine.interop.jax: values and gradients against PyTorch, under jit and vmap."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import engine

jax = pytest.importorskip("jax", reason="JAX is not installed")
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from engine.interop import jax as bridge  # noqa: E402
from engine.interop import torch as torch_bridge  # noqa: E402

jnp = jax.numpy
F = torch.nn.functional
SIZES = (9, 8, 7)


@pytest.fixture(autouse=True)
def _float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def numbers(*shape, seed=0):
    """No two alike."""
    count = int(np.prod(shape))
    values = np.random.default_rng([seed, *shape]).permutation(count) - count // 2 + 0.25
    return values.reshape(shape) / 16


def against(function, truth, arrays):
    """Value, gradient and gradient of the gradient of both, all under jit."""
    dy = numbers(*jax.eval_shape(function, *arrays).shape, seed=7)
    which = tuple(range(len(arrays)))

    def loss(*xs):
        return (function(*xs) * dy).sum()

    def slope(*xs):
        return sum((each ** 2).sum() for each in jax.grad(loss, which)(*xs))

    tensors = [torch.tensor(each, requires_grad=True) for each in arrays]
    y = truth(*tensors)
    np.testing.assert_allclose(jax.jit(function)(*arrays), y.detach(), rtol=1e-12, atol=1e-12)
    first = torch.autograd.grad((y * torch.tensor(dy)).sum(), tensors, create_graph=True)
    for actual, wanted in zip(jax.jit(jax.grad(loss, which))(*arrays), first, strict=True):
        np.testing.assert_allclose(actual, wanted.detach(), rtol=1e-12, atol=1e-12)
    total = sum((each ** 2).sum() for each in first)
    second = torch.autograd.grad(total, tensors, allow_unused=True) if total.requires_grad else [
        None] * len(tensors)
    for actual, wanted in zip(jax.jit(jax.grad(slope, which))(*arrays), second, strict=True):
        wanted = 0 if wanted is None else wanted
        np.testing.assert_allclose(actual, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("options", [
    {}, {"stride": 2, "padding": 1}, {"groups": 2, "dilation": 2, "padding": 2}])
def test_conv(rank, options):
    op = f"conv{rank}d"
    arrays = [numbers(2, 4, *SIZES[:rank]), numbers(6, 4 // options.get("groups", 1),
                                                    *(3,) * rank), numbers(6)]
    against(lambda *xs: getattr(bridge, op)(*xs, **options),
            lambda *xs: getattr(F, op)(*xs, **options), arrays)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_transpose(rank):
    op, options = f"conv_transpose{rank}d", {"stride": 2, "padding": 1, "output_padding": 1}
    arrays = [numbers(2, 4, *SIZES[:rank]), numbers(4, 3, *(3,) * rank), numbers(3)]
    against(lambda *xs: getattr(bridge, op)(*xs, **options),
            lambda *xs: getattr(F, op)(*xs, **options), arrays)


WINDOWS = {"kernel_size": 3, "stride": 2, "padding": 1}
POOLS = [("max_pool", WINDOWS), ("min_pool", WINDOWS), ("avg_pool", WINDOWS),
         ("avg_pool", WINDOWS | {"count_include_pad": False}), ("lp_pool", WINDOWS),
         ("lp_pool", WINDOWS | {"p": 3}), ("global_max_pool", {}), ("global_min_pool", {}),
         ("global_avg_pool", {}), ("global_lp_pool", {}), ("adaptive_max_pool", {"output_size": 3}),
         ("adaptive_avg_pool", {"output_size": 3})]


@pytest.mark.parametrize(("name", "options"), POOLS)
def test_pools(name, options):
    """Against the functions for PyTorch, which torch.autograd.gradcheck has seen."""
    for rank in 1, 2, 3:
        op = f"{name}{rank}d"
        against(lambda x, op=op: getattr(bridge, op)(x, **options),
                lambda x, op=op: getattr(torch_bridge, op)(x, **options),
                [numbers(2, 2, *SIZES[:rank])])


def test_unpooling():
    x = numbers(2, 3, 6, 6)
    y, indices = bridge.max_pool2d(x, 2, return_indices=True)
    places = torch.tensor(np.array(indices))
    against(lambda y: bridge.max_unpool2d(y, indices, 2),
            lambda y: F.max_unpool2d(y, places, 2), [np.array(y)])


def test_vmap():
    x, weight = numbers(3, 4, 5, 2, 8, 8), numbers(5, 3, 2, 3, 3)

    def loss(x, weight):
        y = bridge.conv2d(x, weight, padding=1)
        return bridge.lp_pool2d(y, 2).sum() + bridge.max_pool2d(y, 3).sum()

    mapped = jax.vmap(jax.vmap(jax.grad(loss, (0, 1)), (0, None)), (0, None))(x[:, :, 0], weight[0])
    for i in range(3):
        for j in range(4):
            alone = jax.grad(loss, (0, 1))(x[i, j, 0], weight[0])
            for actual, wanted in zip(mapped, alone, strict=True):
                np.testing.assert_array_equal(actual[i, j], wanted)
    by_axis = jax.jit(jax.vmap(bridge.conv2d, (1, 0)))(x[0], weight)
    for i in range(5):
        np.testing.assert_array_equal(by_axis[i], engine.conv2d(x[0, :, i], weight[i]))
    _, indices = jax.vmap(lambda x: bridge.max_pool2d(x, 2, return_indices=True))(x[0, 0])
    np.testing.assert_array_equal(indices, engine.max_pool2d(x[0, 0], 2, return_indices=True)[1])


@pytest.mark.parametrize("shapes", [((5, 6), (2, 3), ()), ((2, 5, 6), (3, 2, 2, 3), (3,))])
def test_without_a_batch(shapes):
    x, weight, bias = (numbers(*each) for each in shapes)
    np.testing.assert_array_equal(bridge.conv2d(x, weight, bias), engine.conv2d(x, weight, bias))
    dx, dweight = jax.grad(lambda *xs: bridge.conv2d(*xs).sum(), (0, 1))(x, weight)
    truth = engine.conv2d_backward(np.ones_like(engine.conv2d(x, weight)), x, weight)
    np.testing.assert_array_equal(dx, truth.dx)
    np.testing.assert_array_equal(dweight, truth.dweight)


def test_dtypes():
    jax.config.update("jax_enable_x64", False)
    for dtype in jnp.float32, jnp.float16, jnp.bfloat16:
        x, weight = jnp.ones((1, 2, 4, 4), dtype), jnp.ones((3, 2, 2, 2), dtype)
        y, (dx, _) = jax.value_and_grad(lambda *xs: bridge.conv2d(*xs).sum(), (0, 1))(x, weight)
        assert y == 3 * 9 * 8 and dx.dtype == dtype and dx[0, 0, 1, 1] == 12
    means = bridge.avg_pool2d(jnp.arange(16).reshape(1, 1, 4, 4), 2)
    assert means.dtype == jnp.float32 and means[0, 0, 0, 0] == 2.5
    assert bridge.max_pool2d(means, 2, return_indices=True)[1].dtype == jnp.int32


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processors cannot be chosen")
def test_xla_has_one_thread_and_it_is_ours():
    code = """
import os
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
import jax, jax.numpy as jnp
from engine.interop.jax import conv2d
x, weight = jnp.ones((8, 16, 96, 96)), jnp.ones((16, 16, 3, 3))
loss = jax.jit(jax.value_and_grad(lambda *xs: conv2d(jnp.sin(xs[0]) * xs[0], xs[1])[0, 0, 0, 0],
                                  (0, 1)))
for _ in range(5):
    y, (dx, dweight) = loss(x, weight)
print(y, *conv2d(dx, dweight).shape)
"""
    path = os.pathsep.join([str(Path(engine.__file__).parent.parent),
                            *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60,
                          env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    y, *shape = map(float, done.stdout.split())
    np.testing.assert_allclose(y, 144 * np.sin(1), rtol=1e-4)
    assert shape == [8, 16, 94, 94]


def test_errors_come_when_traced():
    with pytest.raises(ValueError, match="conv2d: `weight` has 2 input channels, expected 1"):
        jax.jit(bridge.conv2d)(jnp.ones((1, 1, 4, 4)), jnp.ones((1, 2, 3, 3)))
    with pytest.raises(TypeError, match="conv2d: got an unexpected keyword argument 'layout'"):
        bridge.conv2d(jnp.ones((1, 1, 4, 4)), jnp.ones((1, 1, 3, 3)), layout="NHWC")
