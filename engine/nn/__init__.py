"""Small convolutional networks on top of `engine`: layers, losses, optimizers and a training loop.

>>> from engine import nn
>>> model = nn.Sequential([nn.Conv2D(6, 5, padding=2, activation="relu"), nn.MaxPool2D(2),
...                        nn.Flatten(), nn.Dense(10), nn.Softmax()],
...                       input_shape=(1, 28, 28), seed=0)
>>> model.output_shape
(10,)

Every layer keeps its forward pass directly above its backward pass, and both call nothing but the
public functions of `engine` and NumPy.
"""

from engine.nn import models
from engine.nn.activations import ReLU, Sigmoid, Softmax, Tanh
from engine.nn.augment import RandomShift
from engine.nn.conv import Conv2D
from engine.nn.dense import Dense, Flatten
from engine.nn.dropout import Dropout
from engine.nn.layer import Context, Layer
from engine.nn.losses import BinaryCrossEntropy, CategoricalCrossEntropy
from engine.nn.optimizers import SGD, Adam
from engine.nn.pool import (
    AvgPool2D,
    GlobalAvgPool2D,
    GlobalLpPool2D,
    GlobalMaxPool2D,
    GlobalMinPool2D,
    LpPool2D,
    MaxPool2D,
    MinPool2D,
)
from engine.nn.report import confusion_matrix
from engine.nn.saving import load
from engine.nn.schedules import Cosine, StepDecay
from engine.nn.sequential import Sequential
from engine.nn.training import Callback, Checkpoint, History

__all__ = [
    "SGD", "Adam", "AvgPool2D", "BinaryCrossEntropy", "Callback", "CategoricalCrossEntropy",
    "Checkpoint", "Context", "Conv2D", "Cosine", "Dense", "Dropout", "Flatten", "GlobalAvgPool2D",
    "GlobalLpPool2D", "GlobalMaxPool2D", "GlobalMinPool2D", "History", "Layer", "LpPool2D",
    "MaxPool2D", "MinPool2D", "RandomShift", "ReLU", "Sequential", "Sigmoid", "Softmax",
    "StepDecay", "Tanh", "confusion_matrix", "load", "models",
]
