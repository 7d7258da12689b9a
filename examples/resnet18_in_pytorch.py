"""ResNet-18 in PyTorch, trained ten steps by torch's layers and by engine's.

    python examples/resnet18_in_pytorch.py [losses.png]

K. He, X. Zhang, S. Ren & J. Sun, "Deep Residual Learning for Image Recognition", 2015, table 1.
"""

import sys

import torch
from torch import nn

from engine.interop.torch import swap

STEPS = 10


class Block(nn.Module):
    """Two 3x3 convolutions, and a way around them."""

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.around = nn.Identity() if channels_in == channels else nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x):
        return torch.relu(self.body(x) + self.around(x))


class ResNet18(nn.Sequential):
    def __init__(self, classes):
        stem = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64),
                nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
        blocks = [Block(*each) for each in [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1),
                                            (128, 256, 2), (256, 256, 1), (256, 512, 2),
                                            (512, 512, 1)]]
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(512, classes))


def train(swapped, dtype=torch.float32):
    """The losses of ten steps on eight small random images, the same every time."""
    torch.manual_seed(0)
    model = ResNet18(10).to(dtype)
    if swapped:
        swap(model)
    images, labels = torch.randn(8, 3, 48, 48).to(dtype), torch.arange(8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    losses = []
    for _ in range(STEPS):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(path="losses.png"):
    torchs, ours = train(swapped=False), train(swapped=True)
    truth = train(swapped=False, dtype=torch.float64)
    print("step    torch    engine  float64")
    for step, row in enumerate(zip(torchs, ours, truth, strict=True)):
        print(f"{step:4}" + "".join(f"  {loss:.5f}" for loss in row))
    for name, losses in ("torch", torchs), ("engine", ours):
        off = max(abs(loss - true) for loss, true in zip(losses, truth, strict=True))
        print(f"{name} in float32 is at most {off:.1e} off float64")
    plot(torchs, ours, path)


def plot(torchs, ours, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=110, layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss", title="ResNet-18 in PyTorch")
    axes.plot(torchs, lw=5, alpha=0.4, label="torch's layers")
    axes.plot(ours, "k.-", lw=1, label="engine's layers, by swap(model)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
