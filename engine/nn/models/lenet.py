"""LeNet-5, of 1998."""

from __future__ import annotations

from engine._typing import DTypeLike
from engine.nn._typing import Layout
from engine.nn.activations import Softmax
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.pool import MaxPool2D
from engine.nn.sequential import Sequential


def lenet5(classes: int = 10, *, layout: Layout = "NCHW", dtype: DTypeLike = "float32",
           seed: int | None = None) -> Sequential:
    """LeNet-5 for 28x28 grey images, with its 61,706 parameters (for 10 classes).

    The layers and their names are those of LeCun et al. 1998, figure 2; C1 pads the image to the
    paper's 32x32, C5 is dense, and ReLU and max-pooling stand where the paper had tanh and a
    trained average.
    """
    return Sequential([
        Conv2D(6, 5, padding=2, activation="relu", name="C1"),
        MaxPool2D(2, name="S2"),
        Conv2D(16, 5, activation="relu", name="C3"),
        MaxPool2D(2, name="S4"),
        Flatten(name="flatten"),
        Dense(120, activation="relu", name="C5"),
        Dense(84, activation="relu", name="F6"),
        Dense(classes, name="output"),
        Softmax(name="softmax"),
    ], input_shape=(1, 28, 28) if layout == "NCHW" else (28, 28, 1),
        layout=layout, dtype=dtype, seed=seed, name="lenet5")


def lenet_caffe(classes: int = 10, *, layout: Layout = "NCHW", dtype: DTypeLike = "float32",
                seed: int | None = None) -> Sequential:
    """The LeNet that Caffe's examples train on MNIST: 431,080 parameters (for 10 classes).

    Source: BVLC/caffe, examples/mnist/lenet.prototxt.
    """
    return Sequential([
        Conv2D(20, 5, name="conv1"),
        MaxPool2D(2, name="pool1"),
        Conv2D(50, 5, name="conv2"),
        MaxPool2D(2, name="pool2"),
        Flatten(name="flatten"),
        Dense(500, activation="relu", name="ip1"),
        Dense(classes, name="ip2"),
        Softmax(name="prob"),
    ], input_shape=(1, 28, 28) if layout == "NCHW" else (28, 28, 1),
        layout=layout, dtype=dtype, seed=seed, name="lenet_caffe")
