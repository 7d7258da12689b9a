"""Every layer of engine.nn against the one of PyTorch: outputs and gradients in float64."""

import numpy as np
import pytest
from test_nn import LAYERS

from engine import nn

torch = pytest.importorskip("torch")
F = torch.nn.functional

ACTIVATIONS = {None: lambda y: y, "relu": F.relu, "relu6": F.relu6, "tanh": torch.tanh,
               "sigmoid": torch.sigmoid}


def conv(x, layer, weight, bias=None, groups=None):
    """Their convolution of any rank, on an input that is padded beforehand."""
    rank = weight.ndim - 2
    kernel, dilation = weight.shape[2:], np.broadcast_to(layer.dilation, rank)
    padding = layer.padding
    if padding == "same":  # of odd kernels at stride 1
        padding = tuple((d * (k - 1) // 2,) * 2 for k, d in zip(kernel, dilation, strict=True))
    padding = np.broadcast_to(np.reshape(padding, (-1, 1)) if np.ndim(padding) == 1 else padding,
                              (rank, 2))
    mode = {"constant": "constant", "reflect": "reflect"}[layer.padding_mode]
    x = F.pad(x, padding[::-1].ravel().tolist(), mode=mode)
    function = {1: F.conv1d, 2: F.conv2d}[rank]
    return function(x, weight, bias, stride=layer.stride, dilation=layer.dilation,
                    groups=layer.groups if groups is None else groups)


def separable(x, layer, depthwise, pointwise, bias):
    return F.conv2d(conv(x, layer.depthwise, depthwise, groups=x.shape[1]), pointwise, bias)


def transposed(x, layer, weight, bias=None):
    function = {3: F.conv_transpose1d, 4: F.conv_transpose2d}[weight.ndim]
    return function(x, weight, bias, layer.stride, layer.padding, layer.output_padding,
                    layer.groups, layer.dilation)


def pool(x, layer):
    kind, rank = layer.operation.split("_")[-2], x.ndim - 2
    if layer.operation.startswith("global"):
        return whole(x.flatten(2), kind, layer).reshape(*x.shape[:2], *[1] * rank)
    return sliding(x, layer, kind, rank)


def sliding(x, layer, kind, rank):
    if kind == "lp":
        function = {1: F.lp_pool1d, 2: F.lp_pool2d}[rank]
        return function(x.abs(), layer.p, layer.kernel_size, layer.stride, layer.ceil_mode)
    if kind == "avg":
        function = {1: F.avg_pool1d, 2: F.avg_pool2d}[rank]
        return function(x, layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode,
                        layer.count_include_pad)
    function, sign = {1: F.max_pool1d, 2: F.max_pool2d}[rank], 1 if kind == "max" else -1
    return sign * function(sign * x, layer.kernel_size, layer.stride, layer.padding,
                           layer.dilation, layer.ceil_mode)


def whole(lines, kind, layer):
    if kind == "lp":
        return lines.abs().pow(layer.p).sum(dim=2).pow(1 / layer.p)
    return {"max": lines.amax, "min": lines.amin, "avg": lines.mean}[kind](dim=2)


def normalized(x, layer, *params):
    params = list(params)
    weight = params.pop(0) if layer.scale else None
    bias = params.pop(0) if layer.shift else None
    return F.batch_norm(x, None, None, weight, bias, training=True, eps=layer.epsilon)


THEIRS = {
    nn.Conv1D: conv, nn.Conv2D: conv, nn.SeparableConv2D: separable,
    nn.DepthwiseConv2D: lambda x, layer, *p: conv(x, layer, *p, groups=x.shape[1]),
    nn.ConvTranspose1D: transposed, nn.ConvTranspose2D: transposed,
    nn.Dense: lambda x, layer, weight, bias=None: F.linear(x, weight, bias),
    nn.Flatten: lambda x, layer: x.flatten(1),
    nn.ReLU: lambda x, layer: F.relu(x), nn.ReLU6: lambda x, layer: F.relu6(x),
    nn.LeakyReLU: lambda x, layer: F.leaky_relu(x, layer.negative_slope),
    nn.GELU: lambda x, layer: F.gelu(x, approximate=layer.approximate),
    nn.Tanh: lambda x, layer: torch.tanh(x), nn.Sigmoid: lambda x, layer: torch.sigmoid(x),
    nn.Softmax: lambda x, layer: torch.softmax(x, -1),
    nn.BatchNorm: normalized,
    nn.LocalResponseNorm: lambda x, layer: F.local_response_norm(x, layer.size, layer.alpha,
                                                                 layer.beta, layer.k),
}
# random, and only others put together
NOT_COMPARED = {nn.Dropout, nn.Sequential, nn.Identity, nn.Residual, nn.Concatenate}


def known(make):
    layer = make()
    if hasattr(layer, "operation") and "pool" in layer.operation:
        return pool
    return THEIRS.get(type(layer))


def test_every_layer_is_compared():
    missing = [name for name, (make, _) in LAYERS.items()
               if known(make) is None and type(make()) not in NOT_COMPARED]
    assert not missing


@pytest.mark.parametrize("name", [name for name, (make, _) in LAYERS.items() if known(make)])
def test_outputs_and_gradients_equal_torch(name):
    make, shape = LAYERS[name]
    layer = make()
    model = nn.Sequential([layer], input_shape=shape, dtype="float64", seed=3)
    rng = np.random.default_rng(4)
    model.weights += 0.1 * rng.standard_normal(model.weights.size)
    x = 3 * rng.standard_normal((3, *shape))

    params = [torch.tensor(value, requires_grad=True) for _, value in model.parameters()]
    theirs_x = torch.tensor(x, requires_grad=True)
    theirs = known(make)(theirs_x, layer, *params)
    theirs = ACTIVATIONS[getattr(layer, "activation", None)](theirs)
    y = model.forward(x, training=True)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-11, atol=1e-12)

    dy = rng.standard_normal(y.shape)
    theirs.backward(torch.tensor(dy))
    np.testing.assert_allclose(model.backward(dy), theirs_x.grad.numpy(), rtol=1e-10, atol=1e-12)
    ours = [layer.grads[name] for layer in model.walk() for name in layer.params]
    for mine, other in zip(ours, params, strict=True):
        np.testing.assert_allclose(mine, other.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_in_float32(approximate):
    x = np.linspace(-12, 12, 4001, dtype=np.float32)[None]
    ours = nn.Sequential([nn.GELU(approximate)], input_shape=(4001,)).predict(x)
    truth = F.gelu(torch.tensor(x.astype(np.float64)), approximate=approximate).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, truth, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (4, 7), (3, 6, 5)])
def test_batch_norm_remembers_like_torch(shape):
    model = nn.Sequential([nn.BatchNorm(momentum=0.3)], input_shape=shape, dtype="float64")
    theirs = [torch.nn.BatchNorm1d, torch.nn.BatchNorm1d, torch.nn.BatchNorm2d][len(shape) - 1](
        shape[0], momentum=0.3).double()
    rng = np.random.default_rng(5)
    for _ in range(3):
        x = 2 + 3 * rng.standard_normal((4, *shape))
        model.forward(x, training=True)
        theirs(torch.tensor(x))
    layer = model.layers[0]
    for name, value in layer.buffers.items():
        np.testing.assert_allclose(value, getattr(theirs, name).numpy(), rtol=1e-12)
    theirs.eval()
    np.testing.assert_allclose(model.predict(x), theirs(torch.tensor(x)).detach().numpy(),
                               rtol=1e-11, atol=1e-12)


def test_a_residual_network_equals_torch():
    """Branches inside branches, through both layouts."""
    def network(layout):
        block = nn.Residual([nn.Conv2D(4, 3, stride=2, padding=1, bias=False, name="conv1"),
                             nn.BatchNorm(name="bn1"), nn.ReLU()],
                            nn.Sequential([nn.Conv2D(4, 1, stride=2)], name="downsample"),
                            activation="relu", name="block")
        mixed = nn.Concatenate([nn.Conv2D(2, 1, name="one"),
                                nn.Sequential([nn.Conv2D(3, 3, padding=1)], name="three")], name="")
        shape = (2, 9, 8) if layout == "NCHW" else (9, 8, 2)
        return nn.Sequential([block, mixed], input_shape=shape, layout=layout, dtype="float64",
                             seed=6)

    model = network("NCHW")
    names = [name for name, _ in model.parameters()]
    assert names == ["block.conv1.weight", "block.bn1.weight", "block.bn1.bias",
                     "block.downsample.conv2d_1.weight", "block.downsample.conv2d_1.bias",
                     "one.weight", "one.bias", "three.conv2d_1.weight", "three.conv2d_1.bias"]
    x = np.random.default_rng(7).standard_normal((3, 2, 9, 8))
    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.parameters()}
    t = torch.tensor(x, requires_grad=True)
    h = F.conv2d(t, p["block.conv1.weight"], stride=2, padding=1)
    h = F.relu(F.batch_norm(h, None, None, p["block.bn1.weight"], p["block.bn1.bias"], True))
    h = F.relu(h + F.conv2d(t, p["block.downsample.conv2d_1.weight"],
                            p["block.downsample.conv2d_1.bias"], stride=2))
    theirs = torch.cat([F.conv2d(h, p["one.weight"], p["one.bias"]),
                        F.conv2d(h, p["three.conv2d_1.weight"], p["three.conv2d_1.bias"],
                                 padding=1)], 1)
    y = model.forward(x, training=True)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)
    dy = np.random.default_rng(8).standard_normal(y.shape)
    theirs.backward(torch.tensor(dy))
    np.testing.assert_allclose(model.backward(dy), t.grad.numpy(), rtol=1e-9, atol=1e-11)
    grads = [layer.grads[name] for layer in model.walk() for name in layer.params]
    for ours, name in zip(grads, names, strict=True):
        np.testing.assert_allclose(ours, p[name].grad.numpy(), rtol=1e-9, atol=1e-11)

    last = network("NHWC")
    last.weights[:] = model.weights
    np.testing.assert_allclose(last.forward(x.transpose(0, 2, 3, 1), training=True),
                               y.transpose(0, 2, 3, 1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(last.backward(dy.transpose(0, 2, 3, 1)),
                               t.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-9, atol=1e-11)


def test_names_inside_a_nameless_layer_must_differ():
    with pytest.raises(ValueError, match="two arrays are called 'conv2d_1.weight'"):
        nn.Sequential([nn.Conv2D(2, 1), nn.Sequential([nn.Conv2D(2, 1)], name="")],
                      input_shape=(1, 3, 3))


def test_branches_must_fit():
    with pytest.raises(ValueError, match="expected to differ in channels only"):
        nn.Sequential([nn.Concatenate([nn.Conv2D(2, 1), nn.Conv2D(2, 3)])], input_shape=(1, 5, 5))
    with pytest.raises(ValueError, match="expected .1, 5, 5., that of the shortcut"):
        nn.Sequential([nn.Residual(nn.Conv2D(2, 1))], input_shape=(1, 5, 5))
    with pytest.raises(TypeError, match="`shortcut` has 3, expected layers"):
        nn.Residual([], 3)
