"""Networks by PyTorch: its own layers, put together as engine's model is and with its weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import engine.nn as ours
from bench.networks import LEARNING_RATE, MOMENTUM, NetworkCase
from bench.peers.pytorch import FORMATS, ran, version  # noqa: F401
from engine.nn.models.resnet_cifar import PadChannels


def start(threads: int) -> None:
    torch.set_num_threads(threads)


def prepare(case: NetworkCase, variant: str, inputs: dict[str, np.ndarray]):
    module = build(case.model()).to(memory_format=FORMATS[variant])
    x = torch.from_numpy(inputs["x"]).contiguous(memory_format=FORMATS[variant])
    return _training(module, x, torch.from_numpy(inputs["target"])) if case.training else (
        _inference(module, x))


def arrays(result) -> list[np.ndarray]:
    return [each.detach().numpy() for each in result]


def _inference(module, x):
    module.eval()

    def infer():
        with torch.inference_mode():
            return (module(x),)

    return infer


def _training(module, x, target):
    logits = module[:-1]  # its Softmax is part of the loss
    first = next(logits.parameters())
    optimizer = torch.optim.SGD(logits.parameters(), LEARNING_RATE, MOMENTUM, fused=True)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(logits(x), target)
        loss.backward()
        optimizer.step()
        return loss, first.grad

    return step


# ---- from engine's layers to PyTorch's ----------------------------------------------------------

def build(layer: ours.Layer) -> nn.Module:
    """The module that does what the layer does, with its parameters."""
    module = MAKERS[type(layer)](layer)
    for name, value in (layer.params | layer.buffers).items():
        getattr(module, name).data = torch.from_numpy(value)
    activation = getattr(layer, "activation", None)
    if activation and not isinstance(module, Sum):
        return nn.Sequential(module, ACTIVATIONS[activation](inplace=True))
    return module


class Beside(nn.Module):
    """What is made of the outputs of several branches."""

    def __init__(self, layers):
        super().__init__()
        self.branches = nn.ModuleList(map(build, layers))


class Join(Beside):
    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


class Sum(Beside):
    def __init__(self, layer):
        super().__init__(layer.branches)
        self.activation = ACTIVATIONS[layer.activation](inplace=True) if layer.activation else None

    def forward(self, x):
        y, shortcut = (branch(x) for branch in self.branches)
        y += shortcut
        return self.activation(y) if self.activation else y


class Padded(nn.Module):
    """ResNet's shortcut without parameters."""

    def __init__(self, layer):
        super().__init__()
        self.stride, before = layer.stride, layer.first
        self.pads = (0, 0, 0, 0, before, layer.out_channels - layer.channels - before)

    def forward(self, x):
        return F.pad(x[:, :, ::self.stride, ::self.stride], self.pads)


def _convolution(layer):
    out_channels, in_channels, *kernel = layer.params["weight"].shape
    return nn.Conv2d(in_channels * layer.groups, out_channels, kernel, layer.stride, layer.padding,
                     layer.dilation, layer.groups, layer.bias)


def _dense(layer):
    return nn.Linear(*reversed(layer.params["weight"].shape), layer.bias)


def _pool(kind):
    return lambda layer: kind(layer.kernel_size, layer.stride, layer.padding,
                              ceil_mode=layer.ceil_mode)


ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}
MAKERS = {
    ours.Sequential: lambda layer: nn.Sequential(*map(build, layer.layers)),
    ours.Concatenate: lambda layer: Join(layer.branches), ours.Residual: Sum,
    ours.Identity: lambda layer: nn.Identity(), PadChannels: Padded,
    ours.Conv2D: _convolution, ours.Dense: _dense,
    ours.BatchNorm: lambda layer: nn.BatchNorm2d(layer.channels, layer.epsilon, layer.momentum),
    ours.LocalResponseNorm: lambda layer: nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta,
                                                               layer.k),
    ours.MaxPool2D: _pool(nn.MaxPool2d), ours.AvgPool2D: _pool(nn.AvgPool2d),
    ours.GlobalAvgPool2D: lambda layer: nn.AdaptiveAvgPool2d(1),
    ours.ReLU: lambda layer: nn.ReLU(inplace=True), ours.Flatten: lambda layer: nn.Flatten(),
    ours.Dropout: lambda layer: nn.Dropout(layer.rate), ours.Softmax: lambda layer: nn.Softmax(1),
}
