"""CUDA kernels on a GPU: as `test_cuda`, without the emulator, and with the arrays of torch."""

import naive
import numpy as np
import pytest
import test_conv2d
import test_pool2d
from hypothesis import given
from strategies import conv2d_cases, pool2d_cases
from tolerance import assert_equal
from variants import Variant

import engine.cuda
from engine._problem import PRECISIONS
from engine.kernels import conv2d_cuda
from engine.kernels.cuda_support.toolchain import driver

pytestmark = [pytest.mark.gpu,
              pytest.mark.skipif(driver.missing() is not None, reason=str(driver.missing()))]
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("direction", test_conv2d.DIRECTIONS)
@pytest.mark.parametrize("algorithm", conv2d_cuda.ALGORITHMS)
@given(case=conv2d_cases())
def test_convolution(algorithm, direction, case):
    test_conv2d.check(case, Variant("cuda", algorithm, None), direction)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("direction", test_conv2d.DIRECTIONS)
@given(case=conv2d_cases(dtypes=("float32",)))
def test_precisions_on_small_integers(precision, direction, case):
    case = test_conv2d.replace(case, exact=True)
    getattr(test_conv2d, direction)(case, backend="cuda", algorithm="im2col", precision=precision)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@given(case=pool2d_cases())
def test_pooling(direction, case):
    test_pool2d.check(case, Variant("cuda", None, None), direction)


def test_every_template():
    """A call or two of each kernel, small enough for compute-sanitizer."""
    x, weight = operands()
    with engine.use_backend("cuda"):
        for precision in PRECISIONS:
            y = engine.conv2d(x, weight, precision=precision, activation="relu")
            assert_equal(y, np.maximum(naive.conv(x, weight), 0))
            dweight = engine.conv2d_backward_weight(y, x, weight.shape, precision=precision)
            np.testing.assert_allclose(dweight, naive.conv_backward_weight(y, x, weight.shape),
                                       rtol=0.02, atol=0.02 * abs(dweight).max())
        for order in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
            for algorithm in conv2d_cuda.ALGORITHMS:
                gradients = engine.conv2d_backward(y, order, weight, algorithm=algorithm)
                assert_equal(gradients.dbias, naive.conv_backward_bias(y))
            depthwise = engine.conv2d(order, weight[:8, :1], groups=8)
            assert_equal(depthwise, naive.conv(x, weight[:8, :1], groups=8))
            for kind in ("max", "min", "avg", "lp"):
                pool, back = (getattr(engine, f"{kind}_pool2d{end}") for end in ("", "_backward"))
                pooled = pool(order, 3, stride=2)
                dx = back(pooled, order, 3, stride=2)
                for made, expected in (
                        (pooled, pool(x, 3, stride=2, backend="numpy")),
                        (dx, back(pooled, x, 3, stride=2, backend="numpy"))):
                    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)
    there = engine.cuda.asarray(x)
    assert_equal(engine.cuda.asnumpy((there + 1).sum(axis=1)), (x + 1).sum(axis=1))


# ---- torch -------------------------------------------------------------------------------------

@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch cannot use CUDA")
    return torch


def operands():
    return (RNG.integers(-4, 5, (2, 8, 12, 12)).astype(np.float32),
            RNG.integers(-4, 5, (16, 8, 3, 3)).astype(np.float32))


@pytest.mark.parametrize("memory_format", ["contiguous_format", "channels_last"])
def test_tensors_in_and_out(torch, memory_format):
    x, weight = operands()
    tensor = torch.from_numpy(x).cuda().to(memory_format=getattr(torch, memory_format))
    y = engine.conv2d(tensor, torch.from_numpy(weight).cuda(), padding=1)
    assert isinstance(y, torch.Tensor) and y.is_cuda
    assert y.is_contiguous(memory_format=getattr(torch, memory_format))
    assert_equal(y.cpu().numpy(), naive.conv(x, weight, pads=((1, 1), (1, 1))))


def test_runs_on_the_current_stream(torch):
    """A call sees what its stream has written before it, however long that takes."""
    x, weight = (torch.from_numpy(each).cuda() for each in operands())
    engine.conv2d(x, weight)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        later = torch.zeros_like(x)
        torch.cuda._sleep(50_000_000)
        later += x
        y = engine.conv2d(later, weight)
    torch.cuda.synchronize()
    assert_equal(y.cpu().numpy(), naive.conv(*operands_of(x, weight)))


def operands_of(*tensors):
    return [each.cpu().numpy() for each in tensors]


def test_captured_in_a_graph(torch):
    x, weight = (torch.from_numpy(each).cuda() for each in operands())
    engine.max_pool2d(engine.conv2d(x, weight, activation="relu"), 2)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = engine.max_pool2d(engine.conv2d(x, weight, activation="relu"), 2)
    x.copy_(-x)
    graph.replay()
    torch.cuda.synchronize()
    expected = np.maximum(naive.conv(*operands_of(x, weight)), 0)
    expected = expected.reshape(2, 16, 5, 2, 5, 2).max(axis=(3, 5))
    assert_equal(y.cpu().numpy(), expected)
