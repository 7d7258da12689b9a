"""engine.interop.torch against PyTorch itself: values, gradients of gradients, whole models."""

import copy
import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest

import engine

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from engine.interop import torch as bridge  # noqa: E402

nn = torch.nn
LETTERS = ("", "L", "HW", "DHW")


def numbers(*shape, seed=0):
    """float64, and no two alike or near zero: small steps change neither maxima nor signs."""
    count = int(np.prod(shape))
    values = np.random.default_rng([seed, *shape]).permutation(count) - count // 2 + 0.25
    return torch.tensor(values.reshape(shape) / 8, requires_grad=True)


def by_rank(*sizes):
    """The first one, two and three of the sizes."""
    return [(rank, sizes[:rank]) for rank in (1, 2, 3)]


def convolutions():
    for rank, size in by_rank(4, 3, 3):
        for options in ({}, {"stride": 2, "padding": 1}, {"groups": 2, "dilation": 2, "padding": 2},
                        {"padding": "same"}, {"padding": 1, "padding_mode": "reflect"},
                        {"padding": ((1, 0),) * rank, "padding_mode": "wrap"},
                        {"padding": 1, "padding_mode": "edge", "stride": 2}):
            weight = (2, 2 // options.get("groups", 1), *(2,) * rank)
            yield f"conv{rank}d", ((4 - rank, 2, *size), weight, (2,)), options
        for options in ({}, {"stride": 2, "padding": 1, "output_padding": 1},
                        {"groups": 2, "dilation": 2, "stride": 3, "output_padding": 1}):
            yield f"conv_transpose{rank}d", ((1, 2, *(2,) * rank), (2, 1, *(2,) * rank),
                                             (options.get("groups", 1),)), options
    yield "conv2d", ((4, 5), (2, 3), ()), {}  # a bare plane
    yield "conv2d", ((2, 4, 5), (3, 2, 2, 3), (3,)), {}  # one image


def pools():
    windows = ({"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1},
               {"kernel_size": 2, "stride": 1, "dilation": 2},
               {"kernel_size": 2, "stride": 2, "ceil_mode": True})
    for rank, size in by_rank(5, 4, 3):
        x = ((1, 2, *size),)
        for each in windows:
            if rank == 3 and each.get("dilation"):
                each = each | {"padding": 1}
            for kind in ("max", "min", "avg", "lp"):
                yield f"{kind}_pool{rank}d", x, each
        yield f"avg_pool{rank}d", x, windows[1] | {"count_include_pad": False}
        yield f"lp_pool{rank}d", x, windows[1] | {"p": 3}
        yield f"lp_pool{rank}d", x, windows[1] | {"p": 2.5}
        for kind in ("max", "min", "avg", "lp"):
            yield f"global_{kind}_pool{rank}d", x, {}
        for kind in ("max", "avg"):
            yield f"adaptive_{kind}_pool{rank}d", x, {"output_size": 2}


CASES = [pytest.param(*case, id=f"{case[0]}-{i}")
         for i, case in enumerate([*convolutions(), *pools()])]


@pytest.mark.parametrize(("op", "shapes", "options"), CASES)
def test_gradcheck(op, shapes, options):
    tensors = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    function = getattr(bridge, op)
    y = function(*tensors, **options)
    arrays = [each.detach().numpy() for each in tensors]
    np.testing.assert_array_equal(y.detach(), getattr(engine, op)(*arrays, **options))
    assert torch.autograd.gradcheck(lambda *xs: function(*xs, **options), tensors)


@pytest.mark.parametrize(("op", "shapes", "options"), CASES)
def test_gradgradcheck(op, shapes, options):
    tensors = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    assert torch.autograd.gradgradcheck(lambda *xs: getattr(bridge, op)(*xs, **options), tensors,
                                        fast_mode="3d" in op)  # along random directions


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_unpooling(rank):
    x = numbers(1, 2, *(4,) * rank)
    y, indices = getattr(bridge, f"max_pool{rank}d")(x, 2, return_indices=True)
    assert indices.dtype == torch.int64 and not indices.requires_grad

    def unpool(y):
        return getattr(bridge, f"max_unpool{rank}d")(y, indices, 2)

    y = y.detach().requires_grad_()
    expected = getattr(nn.functional, f"max_unpool{rank}d")(y, indices, 2)
    assert torch.equal(unpool(y), expected)
    assert torch.autograd.gradcheck(unpool, y) and torch.autograd.gradgradcheck(unpool, y)


def test_third_derivatives():
    x, weight = numbers(1, 2, 5), numbers(2, 2, 3, seed=1)

    def gradient(x, weight):
        y = bridge.lp_pool1d(bridge.conv1d(x, weight), 2, p=3)
        return torch.autograd.grad(y.sum(), (x, weight), create_graph=True)

    assert torch.autograd.gradgradcheck(gradient, (x, weight))


def test_the_norm_of_nothing_has_no_slope():
    x = torch.zeros(1, 1, 4, dtype=torch.float64, requires_grad=True)
    for create_graph in (False, True):
        dx, = torch.autograd.grad(bridge.lp_pool1d(x, 2).sum(), x, create_graph=create_graph)
        assert torch.equal(dx, torch.zeros_like(x))


def test_memory_is_shared(monkeypatch):
    x, weight = torch.ones(1, 3, 8, 8), torch.ones(4, 3, 3, 3)
    x = x.to(memory_format=torch.channels_last)
    seen, plain = [], engine.conv2d

    def watched(*arrays, **options):
        seen.extend(arrays[:2])
        seen.append(plain(*arrays, **options))
        return seen[-1]

    monkeypatch.setattr(engine, "conv2d", watched)
    y = bridge.conv2d(x, weight)
    addresses = [each.__array_interface__["data"][0] for each in seen]
    assert addresses == [x.data_ptr(), weight.data_ptr(), y.data_ptr()]
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x, weight = torch.ones(1, 2, 4, 4, dtype=dtype, requires_grad=True), torch.ones(3, 2, 2, 2)
    y = bridge.conv2d(x, weight.to(dtype))
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert (y == 8).all() and x.grad[0, 0, 1, 1] == 12


def test_arguments_that_are_not_taken():
    x = torch.ones(1, 1, 4, 4)
    with pytest.raises(TypeError, match="max_pool2d: got an unexpected keyword argument 'layout'"):
        bridge.max_pool2d(x, 2, layout="NHWC")
    with pytest.raises(ValueError, match="conv2d: `weight` has 2 input channels, expected 1"):
        bridge.conv2d(x, torch.ones(1, 2, 3, 3))


# ---- swap --------------------------------------------------------------------------------------

def layers():
    for rank, size in by_rank(9, 8, 7):
        x = (2, 4, *size)
        for mode in bridge.PADDING_MODES:
            yield f"Conv{rank}d", x, (4, 6, 3), {"padding": 2, "stride": 2, "padding_mode": mode}
        yield f"Conv{rank}d", x, (4, 6, 4), {"padding": "same", "groups": 2, "dilation": 2}
        yield f"Conv{rank}d", x, (4, 6, 3), {"padding": "valid", "bias": False}
        yield f"ConvTranspose{rank}d", x, (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2,
                                                      "output_padding": 1}
        yield f"MaxPool{rank}d", x, (3,), {"stride": 2, "padding": 1, "ceil_mode": True}
        yield f"MaxPool{rank}d", x, (3,), {"dilation": 2}
        yield f"AvgPool{rank}d", x, (3,), {"stride": 2, "padding": 1, "ceil_mode": True}
        yield f"AvgPool{rank}d", x, (2,), {"padding": 1, "count_include_pad": False}
        yield f"LPPool{rank}d", x, (2, 3), {"stride": 2}
        yield f"AdaptiveMaxPool{rank}d", x, (3,), {}
        yield f"AdaptiveAvgPool{rank}d", x, ((None,) * rank if rank > 1 else 4,), {}


@pytest.mark.parametrize(("kind", "shape", "args", "options"), [
    pytest.param(*case, id=f"{case[0]}-{i}") for i, case in enumerate(layers())])
def test_swapped_layers(kind, shape, args, options):
    layer = getattr(nn, kind)(*args, **options).double()
    x = numbers(*shape)
    expected = layer(x)
    bridge.swap(layer)
    assert type(layer).__name__ == f"Engine{kind}"
    y = layer(x)
    torch.testing.assert_close(y, expected, rtol=1e-13, atol=1e-13)
    inputs = [x, *layer.parameters()]
    dy = numbers(*y.shape, seed=1).detach()
    for actual, wanted in zip(torch.autograd.grad(y, inputs, dy),
                              torch.autograd.grad(expected, inputs, dy), strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-12, atol=1e-12)
    assert type(bridge.unswap(layer)) is getattr(nn, kind)


def test_swapped_layers_with_an_output_size():
    x = numbers(1, 2, 5, 5)
    pool, unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)
    expected = unpool(*pool(x), output_size=x.shape)
    bridge.swap(pool), bridge.swap(unpool)
    assert torch.equal(unpool(*pool(x), output_size=x.shape), expected)
    up = nn.ConvTranspose2d(2, 3, 3, stride=2).double()
    expected = up(x, output_size=(12, 12))
    torch.testing.assert_close(bridge.swap(up)(x, output_size=(12, 12)), expected)


def test_what_is_left_to_torch():
    class Mine(nn.Conv2d):
        pass

    model = nn.Sequential(nn.AvgPool2d(2, divisor_override=3), nn.LPPool2d(3, 2), nn.Linear(2, 2),
                          nn.LPPool1d(2, 2, ceil_mode=True), Mine(1, 1, 1))
    before = [type(layer) for layer in model]
    assert [type(layer) for layer in bridge.swap(model)] == before


def test_a_swapped_model_stays_the_same_model():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
    names, parameters = list(model.state_dict()), list(model.parameters())
    hooked = []
    model[0].register_forward_hook(lambda *_: hooked.append(True))
    x = torch.ones(1, 3, 8, 8)
    assert bridge.swap(bridge.swap(model)) is model
    y = model(x)
    assert hooked == [True]
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert torch.equal(copy.deepcopy(model)(x), y)
    model[0]._forward_hooks.clear()
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), y)
    assert [type(layer) for layer in bridge.unswap(model)] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]


def resnet18():
    path = Path(__file__).parent.parent / "examples" / "resnet18_in_pytorch.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_resnet18_learns_the_same_way():
    """In float64, where ten steps of training leave the rounding small."""
    example = resnet18()
    assert sum(each.numel() for each in example.ResNet18(1000).parameters()) == 11_689_512
    torchs, ours = example.train(False, torch.float64), example.train(True, torch.float64)
    assert len(torchs) == 10 and torchs[-1] < torchs[0] / 2
    np.testing.assert_allclose(ours, torchs, rtol=1e-9)


def test_the_curves_of_the_resnet18(tmp_path, monkeypatch, capsys):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    example = resnet18()
    monkeypatch.setattr(example, "STEPS", 2)
    example.main(tmp_path / "losses.png")
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert np.asarray(image.open(tmp_path / "losses.png")).std() > 10
