"""The known networks as PyTorch has them, or written for it from the papers.

torchvision's are used as they are.  The others are here in PyTorch's own manner, each with a
forward of its own; their parameters bear the names of `engine.nn.models`, by which weights go over.
"""

import torch
from torch import nn
from torch.nn import functional as F


def of_torchvision(name, classes, aux=False):
    """That network; the first dense layer of AlexNet and VGG is cut for images of one position."""
    import torchvision

    options = {} if name not in ("googlenet", "inception_v3") else dict(
        aux_logits=aux, init_weights=False, transform_input=False)
    net = getattr(torchvision.models, name)(num_classes=classes, **options)
    if name in ("alexnet", "vgg16", "vgg19"):
        net.avgpool = nn.Identity()
        at = 1 if name == "alexnet" else 0
        net.classifier[at] = nn.Linear(256 if name == "alexnet" else 512, 4096)
    return net


class LeNet5(nn.Module):
    """LeCun et al. 1998, figure 2, with ReLU and max-pooling."""

    def __init__(self, classes):
        super().__init__()
        self.C1, self.C3 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.C5, self.F6 = nn.Linear(400, 120), nn.Linear(120, 84)
        self.output = nn.Linear(84, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.C1(x)), 2)
        x = F.max_pool2d(F.relu(self.C3(x)), 2)
        return self.output(F.relu(self.F6(F.relu(self.C5(x.flatten(1))))))


class CaffeLeNet(nn.Module):
    """examples/mnist/lenet.prototxt of Caffe."""

    def __init__(self, classes):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.ip1, self.ip2 = nn.Linear(800, 500), nn.Linear(500, classes)

    def forward(self, x):
        x = F.max_pool2d(self.conv2(F.max_pool2d(self.conv1(x), 2)), 2)
        return self.ip2(F.relu(self.ip1(x.flatten(1))))


class AlexNet(nn.Module):
    """Krizhevsky et al. 2012, section 3.5; the end is cut for images of one position."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, 4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.fc6, self.fc7 = nn.Linear(256, 4096), nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, classes)

    def normalised(self, x):
        """Section 3.3, written out: k = 2, n = 5, alpha = 1e-4, beta = 0.75."""
        squares = F.pad(x * x, (0, 0, 0, 0, 2, 2))
        total = sum(squares[:, i:i + x.shape[1]] for i in range(5))
        return x / (2 + 1e-4 * total) ** 0.75

    def forward(self, x):
        x = F.max_pool2d(self.normalised(F.relu(self.conv1(x))), 3, 2)
        x = F.max_pool2d(self.normalised(F.relu(self.conv2(x))), 3, 2)
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = F.max_pool2d(F.relu(self.conv5(x)), 3, 2).flatten(1)
        return self.fc8(F.relu(self.fc7(F.relu(self.fc6(x)))))


class Inception(nn.Module):
    """Szegedy et al. 2015, figure 2 (b)."""

    def __init__(self, entering, ones, reduced3, threes, reduced5, fives, pooled):
        super().__init__()
        for name, convolution in {
                "1x1": nn.Conv2d(entering, ones, 1), "3x3_reduce": nn.Conv2d(entering, reduced3, 1),
                "3x3": nn.Conv2d(reduced3, threes, 3, padding=1),
                "5x5_reduce": nn.Conv2d(entering, reduced5, 1),
                "5x5": nn.Conv2d(reduced5, fives, 5, padding=2),
                "pool_proj": nn.Conv2d(entering, pooled, 1)}.items():
            self.add_module(name, convolution)

    def forward(self, x):
        def run(name, x):
            return F.relu(getattr(self, name)(x))

        return torch.cat([run("1x1", x), run("3x3", run("3x3_reduce", x)),
                          run("5x5", run("5x5_reduce", x)),
                          run("pool_proj", F.max_pool2d(x, 3, 1, 1))], 1)


class InceptionHead(nn.Module):
    """Section 5 of that paper."""

    def __init__(self, entering, classes, positions):
        super().__init__()
        self.conv = nn.Conv2d(entering, 128, 1)
        self.fc1, self.fc2 = nn.Linear(128 * positions, 1024), nn.Linear(1024, classes)

    def forward(self, x):
        x = F.relu(self.conv(F.avg_pool2d(x, 5, 3)))
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class GoogLeNet(nn.Module):
    """Szegedy et al. 2015, table 1; with `positions`, what is left of the heads' 4x4, those too."""

    def __init__(self, classes, positions=0):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.conv2_reduce, self.conv2 = nn.Conv2d(64, 64, 1), nn.Conv2d(64, 192, 3, padding=1)
        self.inception_3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception_3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.inception_4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception_4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception_4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception_4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception_4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.inception_5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception_5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.fc = nn.Linear(1024, classes)
        self.aux1 = InceptionHead(512, classes, positions) if positions else None
        self.aux2 = InceptionHead(528, classes, positions) if positions else None

    def forward(self, x):
        def halved(x):
            return F.max_pool2d(x, 3, 2, ceil_mode=True)

        def normalised(x):
            return F.local_response_norm(x, 5, 1e-4, 0.75, 1)

        x = normalised(halved(F.relu(self.conv1(x))))
        x = halved(normalised(F.relu(self.conv2(F.relu(self.conv2_reduce(x))))))
        x = halved(self.inception_3b(self.inception_3a(x)))
        x = first = self.inception_4a(x)
        x = second = self.inception_4d(self.inception_4c(self.inception_4b(x)))
        x = halved(self.inception_4e(x))
        x = self.inception_5b(self.inception_5a(x))
        y = self.fc(x.mean((2, 3)))
        return (y, self.aux2(second), self.aux1(first)) if self.aux1 and self.training else y


class Separable(nn.Module):
    """Howard et al. 2017, figure 3."""

    def __init__(self, entering, leaving, stride):
        super().__init__()
        self.depthwise = nn.Conv2d(entering, entering, 3, stride, 1, groups=entering, bias=False)
        self.bn1 = nn.BatchNorm2d(entering)
        self.pointwise = nn.Conv2d(entering, leaving, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(leaving)

    def forward(self, x):
        x = F.relu(self.bn1(self.depthwise(x)))
        return F.relu(self.bn2(self.pointwise(x)))


class MobileNet(nn.Module):
    """Howard et al. 2017, table 1."""

    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Sequential()
        self.conv1.add_module("conv", nn.Conv2d(3, 32, 3, 2, 1, bias=False))
        self.conv1.add_module("bn", nn.BatchNorm2d(32))
        widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
        for i in range(1, 14):
            self.add_module(f"block{i}", Separable(widths[i - 1], widths[i],
                                                   2 if i in (2, 4, 6, 12) else 1))
        self.fc = nn.Linear(1024, classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        for i in range(1, 14):
            x = getattr(self, f"block{i}")(x)
        return self.fc(x.mean((2, 3)))


class CifarBlock(nn.Module):
    """He et al. 2016: option A or B of section 3.3, or figure 1 (b) of "Identity Mappings"."""

    def __init__(self, entering, leaving, kind):
        super().__init__()
        self.kind, self.changed = kind, entering != leaving
        stride = 2 if self.changed else 1
        self.conv1 = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(leaving, leaving, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(entering if kind == "v2" else leaving)
        self.bn2 = nn.BatchNorm2d(leaving)
        if self.changed and kind != "A":
            convolution = nn.Conv2d(entering, leaving, 1, stride, bias=False)
            self.downsample = convolution if kind == "v2" else nn.Sequential(
                convolution, nn.BatchNorm2d(leaving))

    def shortcut(self, x):
        if not self.changed:
            return x
        if self.kind != "A":
            return self.downsample(x)
        quarter = x.shape[1] // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))

    def forward(self, x):
        if self.kind == "v2":
            y = self.conv1(F.relu(self.bn1(x)))
            return self.shortcut(x) + self.conv2(F.relu(self.bn2(y)))
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.shortcut(x) + self.bn2(self.conv2(y)))


class CifarResNet20(nn.Module):
    """He et al. 2016, section 4.2."""

    def __init__(self, classes, kind):
        super().__init__()
        self.kind, self.conv1 = kind, nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64 if kind == "v2" else 16)
        if kind == "v2":
            self.bn0 = nn.BatchNorm2d(3)
        for i, (entering, leaving) in enumerate([(16, 16), (16, 32), (32, 64)], 1):
            self.add_module(f"layer{i}", nn.Sequential(
                CifarBlock(entering, leaving, kind), CifarBlock(leaving, leaving, kind),
                CifarBlock(leaving, leaving, kind)))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        if self.kind == "v2":
            x = self.layer3(self.layer2(self.layer1(self.conv1(self.bn0(x)))))
            x = F.relu(self.bn1(x))
        else:
            x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))
