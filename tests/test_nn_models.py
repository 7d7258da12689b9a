"""The known networks: their parameters, and their outputs and gradients beside PyTorch's."""

import numpy as np
import pytest
from published import PARAMETERS

from engine import nn
from engine.nn import initializers

torch = pytest.importorskip("torch")
networks = pytest.importorskip("torch_networks")

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


WITH_HEADS = {"googlenet": 13_378_280,  # of Caffe's file
              "googlenet_torchvision": 13_004_888, "inception_v3": 27_161_264}  # of torchvision


@pytest.mark.parametrize("name", WITH_HEADS)
def test_parameters_with_auxiliary_heads(name):
    with initializers.undrawn():
        assert nn.models.MODELS[name](aux=True).num_params == WITH_HEADS[name]


THEIRS = {  # name: the size of the images, and what makes the network in PyTorch
    "lenet5": (28, networks.LeNet5), "lenet_caffe": (28, networks.CaffeLeNet),
    "alexnet": (67, networks.AlexNet), "googlenet": (64, networks.GoogLeNet),
    "mobilenet_v1": (33, networks.MobileNet),
    "resnet20": (16, lambda classes: networks.CifarResNet20(classes, "A")),
    "resnet20_v1": (16, lambda classes: networks.CifarResNet20(classes, "B")),
    "resnet20_v2": (16, lambda classes: networks.CifarResNet20(classes, "v2")),
}
TORCHVISION = {"alexnet_torchvision": 63, "vgg16": 32, "vgg19": 32, "googlenet_torchvision": 64,
               "inception_v3": 75, "resnet18": 33, "resnet50": 33, "squeezenet1_0": 50,
               "squeezenet1_1": 50, "mobilenet_v2": 33}
LARGE = ("alexnet", "alexnet_torchvision", "vgg16", "vgg19")  # in float32


def both(name, size, theirs, **options):
    """Our network and theirs with the same random weights, which go over by their names."""
    dtype = "float32" if name in LARGE else "float64"
    theirs = theirs.to(getattr(torch, dtype)).train()
    generator = torch.Generator().manual_seed(0)
    for value in theirs.parameters():
        if value.ndim == 1:  # so that shifts and scales are not trivial
            value.data += 0.1 * torch.randn(value.shape, generator=generator)
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    size = {} if size == 28 else {"input_size": size}
    with initializers.undrawn():
        ours = nn.models.MODELS[name](classes=7, dtype=dtype, **size, **options)
    for layer in ours.walk():
        if isinstance(layer, nn.Dropout):
            layer.rate = 0
    state = {key: value.numpy() for key, value in theirs.state_dict().items()}
    assert ours.load_weights(state) == "names"
    x = np.random.default_rng(2).standard_normal((3, *ours.input_shape)).astype(dtype)
    return ours, theirs, x


def same_gradients(ours, theirs, rtol):
    owners = [layer for layer in ours.walk() if layer.params]
    gradients = [layer.grads[name] for layer in owners for name in layer.params]
    others = {name: value.grad.numpy() for name, value in theirs.named_parameters()}
    names = [name for name, _ in ours.parameters()]
    assert sorted(names) == sorted(others)
    for name, gradient in zip(names, gradients, strict=True):
        other = others[name]
        np.testing.assert_allclose(gradient, other, rtol=rtol, err_msg=name,
                                   atol=rtol * max(1e-5, np.abs(other).max()))


def compare(ours, theirs, x):
    """Outputs and gradients of a training step, then outputs by the running means it left."""
    rtol = 1e-8 if x.dtype == np.float64 else 2e-4
    y = ours.forward(x, training=True, stop=-1)
    other = theirs(torch.tensor(x))
    np.testing.assert_allclose(y, other.detach().numpy(), rtol=rtol, atol=rtol)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(x.dtype)
    other.backward(torch.tensor(dy))
    ours.backward(dy, need_dx=False, stop=-1)
    same_gradients(ours, theirs, 100 * rtol)
    with torch.no_grad():
        other = theirs.eval()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours.logits(x), other, rtol=10 * rtol, atol=10 * rtol)


@pytest.mark.parametrize("name", THEIRS)
def test_outputs_and_gradients_equal_torch(name):
    size, make = THEIRS[name]
    torch.manual_seed(1)
    compare(*both(name, size, make(7)))


@pytest.mark.parametrize("name", TORCHVISION)
def test_outputs_and_gradients_equal_torchvision(name):
    pytest.importorskip("torchvision")
    torch.manual_seed(1)
    theirs = networks.of_torchvision(name.removesuffix("_torchvision"), 7)
    compare(*both(name, TORCHVISION[name], theirs))


def fitted(ours, x, y):
    """Train on one batch, with gradients only: the rate is 0."""
    history = ours.fit(x, y, batch_size=len(x), shuffle=False, optimizer=nn.SGD(0),
                       progress=False)
    return history["loss"][0]


@pytest.mark.parametrize("name", ["googlenet", "googlenet_torchvision"])
def test_losses_of_auxiliary_heads_are_added(name):
    torch.manual_seed(1)
    if name == "googlenet":
        theirs = networks.GoogLeNet(7, positions=1)
    else:
        pytest.importorskip("torchvision")
        theirs = networks.of_torchvision("googlenet", 7, aux=True)
    ours, theirs, x = both(name, 80, theirs, aux=True)
    target = np.array([3, 0, 6])
    y, *heads = theirs(torch.tensor(x))
    loss = torch.nn.functional.cross_entropy
    right = torch.tensor(target)
    total = loss(y, right) + 0.3 * sum(loss(head, right) for head in heads)
    total.backward()
    assert fitted(ours, x, target) == pytest.approx(total.item(), rel=1e-10)
    same_gradients(ours, theirs, 1e-6)

    plain = nn.models.MODELS[name](classes=7, input_size=80, dtype="float64")
    kept = dict(plain.arrays()).keys()
    plain.load_weights(dict(ours.arrays()))  # the heads are passed over
    np.testing.assert_array_equal(ours.predict(x), plain.predict(x))
    np.testing.assert_array_equal(nn.compile(ours, 3)(x), nn.compile(plain, 3)(x))
    before = {key: value.copy() for key, value in ours.arrays()}
    ours.load_weights({key: np.zeros_like(value) for key, value in plain.arrays()})
    for key, value in ours.arrays():  # a file without heads leaves them as they are
        np.testing.assert_array_equal(value, 0 if key in kept else before[key])


def test_the_auxiliary_head_of_inception_equals_torchvision():
    """By itself: it needs maps of 17x17."""
    module = pytest.importorskip("torchvision.models.inception")
    torch.manual_seed(1)
    theirs = module.InceptionAux(768, 7).double().train()
    ours = nn.Sequential([nn.models.inception.auxiliary(7).layers, nn.Softmax()],
                         input_shape=(768, 17, 17), dtype="float64")
    assert ours.load_weights({name: value.numpy() for name, value in theirs.state_dict().items()
                              }) == "names"
    x = np.random.default_rng(4).standard_normal((2, 768, 17, 17))
    compare(ours, theirs, x)


def test_depth_of_small_resnets():
    with pytest.raises(ValueError, match="`depth` is 21, expected 6n . 2"):
        nn.models.resnet_cifar(21)
    assert nn.models.resnet_cifar(110).num_params == 1_727_962  # table 6 of the paper: 1.7 million
