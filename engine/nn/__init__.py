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

from engine.nn import models, plots
from engine.nn.activations import GELU, LeakyReLU, ReLU, ReLU6, Sigmoid, Softmax, Tanh
from engine.nn.augment import (
    Compose,
    Normalize,
    RandomCrop,
    RandomFlip,
    RandomRotate,
    RandomShift,
)
from engine.nn.auxiliary import Auxiliary
from engine.nn.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    ReduceOnPlateau,
    TensorBoard,
    TerminateOnNaN,
)
from engine.nn.cells import CCells, SCells
from engine.nn.combine import Concatenate, Identity, Residual
from engine.nn.compiled import compile
from engine.nn.conv import Conv1D, Conv2D
from engine.nn.conv_transpose import ConvTranspose1D, ConvTranspose2D
from engine.nn.data import ImageFolder
from engine.nn.dense import Dense, Flatten
from engine.nn.dropout import Dropout
from engine.nn.inspection import feature_maps, grad_cam
from engine.nn.layer import Context, Layer
from engine.nn.losses import BinaryCrossEntropy, CategoricalCrossEntropy
from engine.nn.norm import BatchNorm, LocalResponseNorm
from engine.nn.optimizers import SGD, Adam, AdamW, RMSprop
from engine.nn.pool import (
    AdaptiveAvgPool2D,
    AvgPool1D,
    AvgPool2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalLpPool1D,
    GlobalLpPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMinPool1D,
    GlobalMinPool2D,
    LpPool1D,
    LpPool2D,
    MaxPool1D,
    MaxPool2D,
    MinPool1D,
    MinPool2D,
)
from engine.nn.report import confusion_matrix
from engine.nn.saving import load
from engine.nn.schedules import Cosine, Exponential, Polynomial, StepDecay, Warmup
from engine.nn.separable import DepthwiseConv2D, SeparableConv2D
from engine.nn.sequential import Sequential
from engine.nn.training import History

__all__ = [
    "GELU", "SGD", "Adam", "AdamW", "AdaptiveAvgPool2D", "Auxiliary", "AvgPool1D", "AvgPool2D",
    "BatchNorm", "BinaryCrossEntropy", "CCells", "CSVLogger", "Callback", "CategoricalCrossEntropy",
    "Checkpoint", "Compose", "Concatenate", "Context", "Conv1D", "Conv2D", "ConvTranspose1D",
    "ConvTranspose2D", "Cosine", "Dense", "DepthwiseConv2D", "Dropout", "EarlyStopping",
    "Exponential", "Flatten", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalLpPool1D",
    "GlobalLpPool2D", "GlobalMaxPool1D", "GlobalMaxPool2D", "GlobalMinPool1D", "GlobalMinPool2D",
    "History", "Identity", "ImageFolder", "Layer", "LeakyReLU", "LocalResponseNorm", "LpPool1D",
    "LpPool2D", "MaxPool1D", "MaxPool2D", "MinPool1D", "MinPool2D", "Normalize", "Polynomial",
    "RMSprop", "RandomCrop", "RandomFlip", "RandomRotate", "RandomShift", "ReLU", "ReLU6",
    "ReduceOnPlateau", "Residual", "SCells", "SeparableConv2D", "Sequential", "Sigmoid", "Softmax",
    "StepDecay", "Tanh", "TensorBoard", "TerminateOnNaN", "Warmup", "compile", "confusion_matrix",
    "feature_maps", "grad_cam", "load", "models", "plots",
]
