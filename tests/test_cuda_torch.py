"""Tensors of torch in and out of CUDA kernels, which are emulated."""

import naive
import numpy as np
import pytest
from cuda_emulation import emulated_torch
from tolerance import assert_equal

import engine

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
X = RNG.integers(-4, 5, (2, 8, 7, 9)).astype(np.float32)
W = RNG.integers(-4, 5, (12, 8, 3, 3)).astype(np.float32)


@pytest.fixture
def device():
    with emulated_torch() as device:
        yield device


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_in_and_out(device, memory_format, dtype):
    x = torch.from_numpy(X).to(dtype).contiguous(memory_format=memory_format)
    weight = torch.from_numpy(W).to(dtype).requires_grad_()
    y = engine.conv2d(x, weight, padding=1, activation="relu")
    assert isinstance(y, torch.Tensor) and y.dtype == dtype
    assert y.is_contiguous(memory_format=memory_format)
    truth = np.maximum(naive.conv(X, W, pads=((1, 1), (1, 1))), 0)
    assert torch.equal(y, torch.from_numpy(truth).to(dtype))
    pooled, places = engine.max_pool2d(y, 2, return_indices=True)
    assert places.dtype == torch.int64
    expected = torch.nn.functional.max_pool2d(y.float(), 2, return_indices=True)
    assert torch.equal(pooled.float(), expected[0]) and torch.equal(places, expected[1])


def test_memory_is_not_copied(device):
    """Every other channel of a larger tensor is read where it lies; results go where asked."""
    whole = torch.from_numpy(np.repeat(X, 2, axis=1))
    out = torch.full((2, 12, 5, 7), float("nan"))
    assert engine.conv2d(whole[:, ::2], torch.from_numpy(W), out=out) is out
    assert_equal(out.numpy(), naive.conv(X, W))
    with pytest.raises(TypeError, match="conv2d: `weight` has dtype float64, expected float32"
                       "|conv2d: `x` has dtype float32, expected float64"):
        engine.conv2d(whole[:, ::2], torch.from_numpy(W).double())


def test_a_call_like_an_earlier_one(device, monkeypatch):
    """Is not checked again, and computes with the arrays that it is given."""
    weight, more = torch.from_numpy(W), torch.from_numpy(W[::-1].copy())
    functions = [lambda x, w: engine.conv2d(x, w, stride=2),
                 lambda x, w: engine.conv2d_backward(engine.conv2d(x, w), x, w),
                 lambda x, w: engine.conv_transpose2d(engine.conv2d(x, w), w),
                 lambda x, w: engine.max_pool2d(x, 2, return_indices=True),
                 lambda x, w: engine.lp_pool2d_backward(engine.lp_pool2d(x, 2), x, 2)]
    for function in functions:
        function(torch.from_numpy(X), weight)
    expected = [function(X[::-1].copy(), W[::-1].copy()) for function in functions]
    for name in ("images", "layout"):
        monkeypatch.setattr(f"engine._check.{name}", None)
    launches = sum(device.launches.values())
    for function, truth in zip(functions, expected, strict=True):
        results = function(torch.from_numpy(X[::-1].copy()), more)
        results, truth = ((each if isinstance(each, tuple) else (each,))
                          for each in (results, truth))
        for one, other in zip(results, truth, strict=True):
            np.testing.assert_allclose(one.numpy(), other, rtol=1e-5)
    assert sum(device.launches.values()) > launches
    with pytest.raises(TypeError, match="not callable"):  # of another kind: it is checked
        engine.conv2d(torch.from_numpy(X), weight, stride=True)


def test_gradients(device):
    x, weight = torch.from_numpy(X), torch.from_numpy(W)
    dy = torch.from_numpy(naive.conv(X, W).astype(np.float32))
    gradients = engine.conv2d_backward(dy, x, weight)
    x.requires_grad_(), weight.requires_grad_()
    torch.nn.functional.conv2d(x, weight).backward(dy)
    assert torch.equal(gradients.dx, x.grad) and torch.equal(gradients.dweight, weight.grad)
    assert_equal(gradients.dbias.numpy(), naive.conv_backward_bias(dy.numpy()))
