"""The known networks: their parameters, and their outputs and gradients beside PyTorch's."""

import numpy as np
import pytest
from published import PARAMETERS

from engine import nn
from engine.nn import initializers
from engine.nn.models.resnet_cifar import PadChannels

torch = pytest.importorskip("torch")
F = torch.nn.functional

SMALL = {"alexnet": 67, "alexnet_torchvision": 63, "vgg16": 32, "vgg19": 32, "googlenet": 64,
         "googlenet_torchvision": 64, "inception_v3": 75, "resnet18": 33, "resnet50": 33,
         "resnet20": 16, "resnet20_v1": 16, "resnet20_v2": 16, "squeezenet1_0": 50,
         "squeezenet1_1": 50, "mobilenet_v1": 33, "mobilenet_v2": 33}
NAMES = {  # some of torchvision's, with their shapes
    "alexnet_torchvision": {"features.10.weight": (256, 256, 3, 3), "classifier.6.bias": (1000,)},
    "vgg16": {"features.28.weight": (512, 512, 3, 3), "classifier.3.weight": (4096, 4096)},
    "googlenet_torchvision": {"inception4e.branch2.1.conv.weight": (320, 160, 3, 3),
                              "inception5b.branch4.1.bn.running_var": (128,),
                              "fc.weight": (1000, 1024)},
    "inception_v3": {"Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
                     "Mixed_6b.branch7x7_2.bn.weight": (128,)},
    "resnet18": {"layer2.0.downsample.0.weight": (128, 64, 1, 1), "layer4.1.bn2.bias": (512,)},
    "resnet50": {"layer3.5.conv3.weight": (1024, 256, 1, 1), "bn1.running_mean": (64,)},
    "squeezenet1_1": {"features.12.expand3x3.weight": (256, 64, 3, 3),
                      "classifier.1.weight": (1000, 512, 1, 1)},
    "mobilenet_v2": {"features.2.conv.1.0.weight": (96, 1, 3, 3),
                     "features.17.conv.3.running_var": (320,), "classifier.1.weight": (1000, 1280)},
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    with initializers.undrawn():  # random numbers by the hundred million take a while
        model = nn.models.MODELS[name]()
    assert model.num_params == PARAMETERS[name] and not model.weights[:1000].any()
    arrays = dict(model.arrays())
    for array, shape in NAMES.get(name, {}).items():
        assert arrays[array].shape == shape


def in_torch(layer, x, p, prefix=""):
    """What torch makes of x by a layer of ours; p has its parameters by name."""
    def of(child, x):
        return in_torch(child, x, p, child.prefix(prefix))

    def own(name):
        return p.get(prefix + name)

    if isinstance(layer, nn.Sequential):
        for child in layer.layers:
            x = of(child, x)
        return x
    if isinstance(layer, nn.Concatenate):
        return torch.cat([of(branch, x) for branch in layer.branches], 1)
    if isinstance(layer, nn.Residual):
        y = of(layer.layers, x) + of(layer.shortcut, x)
        return F.relu(y) if layer.activation == "relu" else y
    if isinstance(layer, nn.Conv2D):
        y = F.conv2d(x, own("weight"), own("bias"), layer.stride, layer.padding, layer.dilation,
                     layer.groups)
        return F.relu(y) if layer.activation == "relu" else y
    if isinstance(layer, nn.Dense):
        y = F.linear(x, own("weight"), own("bias"))
        return F.relu(y) if layer.activation == "relu" else y
    if isinstance(layer, nn.BatchNorm):
        return F.batch_norm(x, None, None, own("weight"), own("bias"), True, eps=layer.epsilon)
    if isinstance(layer, PadChannels):
        missing = layer.out_channels - x.shape[1]
        x = x[:, :, ::layer.stride, ::layer.stride]
        return F.pad(x, (0, 0, 0, 0, missing // 2, missing - missing // 2))
    if isinstance(layer, nn.LocalResponseNorm):
        return F.local_response_norm(x, layer.size, layer.alpha, layer.beta, layer.k)
    if isinstance(layer, nn.MaxPool2D):
        return F.max_pool2d(x, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
                            layer.ceil_mode)
    if isinstance(layer, nn.AvgPool2D):
        return F.avg_pool2d(x, layer.kernel_size, layer.stride, layer.padding)
    plain = {nn.ReLU: F.relu, nn.ReLU6: F.relu6, nn.Identity: lambda x: x, nn.Dropout: lambda x: x,
             nn.GlobalAvgPool2D: lambda x: x.mean((2, 3), keepdim=True),
             nn.Flatten: lambda x: x.flatten(1), nn.Softmax: lambda x: F.softmax(x, -1)}
    return plain[type(layer)](x)


@pytest.mark.parametrize("name", SMALL)
def test_outputs_and_gradients_equal_torch(name):
    double = name not in ("alexnet", "alexnet_torchvision", "vgg16", "vgg19")  # those are large
    model = nn.models.MODELS[name](classes=7, input_size=SMALL[name], seed=1,
                                   dtype="float64" if double else "float32")
    for layer in model.walk():
        if isinstance(layer, nn.Dropout):
            layer.rate = 0
    rng = np.random.default_rng(2)
    for _, value in model.parameters():  # so that shifts and scales are not trivial
        if value.ndim == 1:
            value += 0.1 * rng.standard_normal(value.shape)
    x = rng.standard_normal((3, *model.input_shape)).astype(model.dtype)
    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.parameters()}
    theirs = in_torch(model, torch.tensor(x), p)
    y = model.forward(x, training=True)
    rtol, atol = (1e-8, 1e-10) if double else (2e-4, 1e-5)
    np.testing.assert_allclose(y, theirs.detach().numpy(), rtol=rtol, atol=atol)
    dy = rng.standard_normal(y.shape).astype(model.dtype)
    theirs.backward(torch.tensor(dy))
    model.backward(dy, need_dx=False)
    owners = [layer for layer in model.walk() if layer.params]
    ours = [layer.grads[name] for layer in owners for name in layer.params]
    for (name, value), gradient in zip(p.items(), ours, strict=True):
        other = value.grad.numpy()
        np.testing.assert_allclose(gradient, other, rtol=100 * rtol,
                                   atol=100 * atol * max(1e-3, np.abs(other).max()), err_msg=name)


def test_depth_of_small_resnets():
    with pytest.raises(ValueError, match="`depth` is 21, expected 6n . 2"):
        nn.models.resnet_cifar(21)
    assert nn.models.resnet_cifar(110).num_params == 1_727_962  # table 6 of the paper: 1.7 million
