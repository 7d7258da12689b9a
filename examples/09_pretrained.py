"""Trained networks from elsewhere: their accuracy, and how far from the expected outputs they are.

The files are read from the folder that the environment variable ENGINE_DATA names; those that are
not there are left out.
"""

import os
from pathlib import Path

import numpy as np

from engine import datasets, nn
from engine.nn import photos

DATA = Path(os.environ.get("ENGINE_DATA", "."))


def convnet_of_burn():
    """Three convolutions and two normalisations, as in tracel-ai/burn's example for MNIST."""
    return nn.Sequential([
        nn.Conv2D(8, 3, activation="relu", name="conv1"),
        nn.Conv2D(16, 3, activation="relu", name="conv2"),
        nn.Conv2D(24, 3, activation="relu", name="conv3"),
        nn.BatchNorm(name="norm1"),
        nn.Flatten(),
        nn.Dense(32, activation="relu", name="fc1"),
        nn.Dense(10, name="fc2"),
        nn.BatchNorm(name="norm2"),
        nn.Softmax(),
    ], input_shape=(1, 28, 28), name="convnet of burn")


def webnn_arrays(path):
    """webnn-samples' LeNet: the arrays one after the other, a shape of two int64 among them."""
    raw = path.read_bytes()
    shapes = [("conv1.weight", (20, 1, 5, 5)), ("conv1.bias", (20,)),
              ("conv2.weight", (50, 20, 5, 5)), ("conv2.bias", (50,)), (None, (4,)),
              ("ip1.weight", (500, 800)), ("ip1.bias", (500,)),
              ("ip2.weight", (10, 500)), ("ip2.bias", (10,))]
    arrays, at = {}, 0
    for name, shape in shapes:
        count = int(np.prod(shape))
        if name:
            arrays[name] = np.frombuffer(raw, "<f4", count, at).reshape(shape)
        at += 4 * count
    return arrays


def lenets():
    """Model, file, weights and scaled test digits of each LeNet."""
    folder, mnist = DATA / "lenet_mnist", DATA / "mnist"
    if not (folder.is_dir() and mnist.is_dir()):
        return
    images = datasets.load("mnist", mnist)
    x, y = images.x_test, images.y_test
    caffe, webnn = folder / "lenet_iter_10000.caffemodel", folder / "webnn_lenet.bin"
    burn = folder / "burn_mnist.safetensors"
    yield (nn.models.lenet_caffe(), caffe, caffe, x * 255 / 256, y,
           "lenet_iter_10000_expected.npz")
    yield nn.models.lenet_caffe(), webnn, webnn_arrays(webnn), x, y, None
    yield convnet_of_burn(), burn, burn, (x - 0.1307) / 0.3081, y, None


def cifar_resnets():
    """The same of each ResNet for CIFAR-10."""
    folder, test = DATA / "resnet_cifar10", DATA / "cifar10_subset/test_batch_first1000.bin.gz"
    if not (folder.is_dir() and test.is_file()):
        return
    pixels, y = datasets.read_cifar10(test)
    options_a = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    gluon = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
    for name, file, (mean, std) in [
            ("resnet20", "resnet20_optionA", options_a),
            ("resnet32", "resnet32_optionA", options_a),
            ("resnet56", "resnet56_optionA", options_a),
            ("resnet20_v1", "gluoncv_cifar_resnet20_v1", gluon),
            ("resnet20_v2", "gluoncv_cifar_resnet20_v2", gluon),
            ("resnet56_v2", "gluoncv_cifar_resnet56_v2", gluon)]:
        x = (pixels - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
        path = folder / f"{file}.npz"
        yield nn.models.MODELS[name](), path, path, x, y, f"{file}_expected.npz"


def squeezenets():
    """The same of both SqueezeNets; a photograph may have more than one right answer."""
    folder, shots = DATA / "squeezenet", DATA / "photos"
    if not (folder.is_dir() and shots.is_dir()):
        return
    with np.load(shots / "crops_uint8.npz") as file:
        pixels = file["x224"]
    lines = (shots / "labels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    accepted = [line.split("\t")[2] for line in lines]
    right = [[int(each) for each in text.split(",")] if text.replace(",", "").isdigit() else None
             for text in accepted]
    for name, file in [("squeezenet1_1", "squeezenet_v1_1_fp16"),
                       ("squeezenet1_0_caffe", "squeezenet_v1_0_dc")]:
        path = folder / f"{file}.npz"
        yield (nn.models.MODELS[name](), path, path, photos.prepare(pixels, "caffe"), right,
               f"{file}_expected.npz")


def row(model, path, weights, x, y, expected):
    """Accuracy over the samples that have a label, and the largest difference in the logits."""
    model.load_weights(weights)
    logits = model.logits(x)
    said = logits.argmax(axis=1)
    labelled = [i for i in range(len(y)) if y[i] is not None]
    hits = sum(said[i] in np.atleast_1d(y[i]) for i in labelled)
    difference = ""
    if expected:
        with np.load(path.parent / expected) as file:
            stored = file["logits" if "logits" in file else "logits_first100"]
        error = np.abs(logits[:len(stored)] - stored).max() / np.abs(stored).max()
        difference = f"{error:.1e}"
    return [model.name, path.name, f"{model.num_params:,}", f"{hits:,}/{len(labelled):,}",
            f"{hits / len(labelled):.2%}", difference]


def main():
    head = ["model", "weights", "parameters", "right", "", "difference"]
    rows = [row(*case) for cases in (lenets, cifar_resnets, squeezenets) for case in cases()]
    if not rows:
        print("no weights: set ENGINE_DATA to the folder that has them")
    for line in [head, *rows] if rows else []:
        print("{:<20} {:<34} {:>11} {:>13} {:>7} {:>11}".format(*line))


if __name__ == "__main__":
    main()
