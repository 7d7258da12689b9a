"""Well-known networks by name, as in the papers' figures.

Parameters bear torchvision's names wherever torchvision has the network, so its weights fit:
``models.resnet18().load_weights("resnet18.safetensors")``.  All of them end in a Softmax;
`Model.logits` gives what goes into it.

>>> from engine.nn import models
>>> models.squeezenet1_1(classes=5, input_size=64, seed=0).output_shape
(5,)
"""

from functools import partial

from engine.nn.models.alexnet import alexnet, alexnet_torchvision
from engine.nn.models.googlenet import googlenet, googlenet_torchvision
from engine.nn.models.inception import inception_v3
from engine.nn.models.lenet import lenet5, lenet_caffe
from engine.nn.models.mobilenet import mobilenet_v1, mobilenet_v2
from engine.nn.models.neocognitron import name_cells, neocognitron, self_organize
from engine.nn.models.resnet import resnet18, resnet50
from engine.nn.models.resnet_cifar import resnet_cifar, resnet_cifar_v1, resnet_cifar_v2
from engine.nn.models.squeezenet import squeezenet1_0, squeezenet1_1
from engine.nn.models.vgg import vgg16, vgg19

MODELS = {
    "lenet5": lenet5, "lenet_caffe": lenet_caffe,
    "alexnet": alexnet, "alexnet_torchvision": alexnet_torchvision,
    "vgg16": vgg16, "vgg19": vgg19,
    "googlenet": googlenet, "googlenet_torchvision": googlenet_torchvision,
    "inception_v3": inception_v3,
    "resnet18": resnet18, "resnet50": resnet50,
    "resnet20": partial(resnet_cifar, 20), "resnet32": partial(resnet_cifar, 32),
    "resnet56": partial(resnet_cifar, 56),
    "resnet20_v1": partial(resnet_cifar_v1, 20),
    "resnet20_v2": partial(resnet_cifar_v2, 20), "resnet56_v2": partial(resnet_cifar_v2, 56),
    "squeezenet1_0": squeezenet1_0, "squeezenet1_1": squeezenet1_1,
    "squeezenet1_0_caffe": partial(squeezenet1_0, last_padding=1),
    "neocognitron": neocognitron,
    "mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2,
}

__all__ = ["MODELS", *sorted(name for name in MODELS if name in globals()), "resnet_cifar",
           "resnet_cifar_v1", "resnet_cifar_v2", "name_cells", "self_organize"]
