"""Inception v3, of 2015: large filters taken apart into small ones."""

from __future__ import annotations

from typing import Any

from engine.nn.activations import Softmax
from engine.nn.auxiliary import Auxiliary
from engine.nn.combine import Concatenate
from engine.nn.dense import Dense, Flatten
from engine.nn.dropout import Dropout
from engine.nn.models.parts import conv_bn, group, network
from engine.nn.pool import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from engine.nn.sequential import Sequential

ACROSS, DOWN = dict(kernel_size=(1, 7), padding=(0, 3)), dict(kernel_size=(7, 1), padding=(3, 0))


def inception_v3(classes: int = 1000, *, aux: bool = False, input_size: int = 299,
                 **options: Any) -> Sequential:
    """Inception v3, 23,834,568 parameters; 27,161,264 with `aux`, for training.

    Source: Szegedy et al. 2016, "Rethinking the Inception Architecture", table 1, with the channels
    and names of torchvision.
    """
    return network("inception_v3", [
        _conv("Conv2d_1a_3x3", 32, 3, stride=2),
        _conv("Conv2d_2a_3x3", 32, 3),
        _conv("Conv2d_2b_3x3", 64, 3, padding=1),
        MaxPool2D(3, stride=2),
        _conv("Conv2d_3b_1x1", 80, 1),
        _conv("Conv2d_4a_3x3", 192, 3),
        MaxPool2D(3, stride=2),
        _module_a("Mixed_5b", 32), _module_a("Mixed_5c", 64), _module_a("Mixed_5d", 64),
        _reduction_b("Mixed_6a"),
        _module_c("Mixed_6b", 128), _module_c("Mixed_6c", 160), _module_c("Mixed_6d", 160),
        _module_c("Mixed_6e", 192), auxiliary(classes) if aux else None,
        _reduction_d("Mixed_7a"),
        _module_e("Mixed_7b"), _module_e("Mixed_7c"),
        GlobalAvgPool2D(), Flatten(), Dropout(0.5), Dense(classes, name="fc"), Softmax(),
    ], input_size, **options)


def auxiliary(classes):
    """The head on the 17x17 maps (figure 8), with the weight that its authors' code gives it."""
    return Auxiliary([AvgPool2D(5, stride=3), _conv("conv0", 128, 1), _conv("conv1", 768, 5),
                      GlobalAvgPool2D(), Flatten(), Dense(classes, name="fc")],
                     weight=0.4, name="AuxLogits")


def _conv(name, channels, kernel_size, **geometry):
    return conv_bn(name, channels, kernel_size, epsilon=1e-3, **geometry)


def _row(*layers):
    return group("", *layers)


def _pooled(channels):
    return _row(AvgPool2D(3, stride=1, padding=1), _conv("branch_pool", channels, 1))


def _module_a(name, pooled):
    """5x5 as it is, and two 3x3 (figure 5 of the paper)."""
    return Concatenate([
        _conv("branch1x1", 64, 1),
        _row(_conv("branch5x5_1", 48, 1), _conv("branch5x5_2", 64, 5, padding=2)),
        _row(_conv("branch3x3dbl_1", 64, 1), _conv("branch3x3dbl_2", 96, 3, padding=1),
             _conv("branch3x3dbl_3", 96, 3, padding=1)),
        _pooled(pooled)], name=name)


def _reduction_b(name):
    """Half the size, by strides and by pooling side by side (figure 10)."""
    return Concatenate([
        _conv("branch3x3", 384, 3, stride=2),
        _row(_conv("branch3x3dbl_1", 64, 1), _conv("branch3x3dbl_2", 96, 3, padding=1),
             _conv("branch3x3dbl_3", 96, 3, stride=2)),
        MaxPool2D(3, stride=2)], name=name)


def _module_c(name, c):
    """7x7 as 1x7 and 7x1 (figure 6)."""
    return Concatenate([
        _conv("branch1x1", 192, 1),
        _row(_conv("branch7x7_1", c, 1), _conv("branch7x7_2", c, **ACROSS),
             _conv("branch7x7_3", 192, **DOWN)),
        _row(_conv("branch7x7dbl_1", c, 1), _conv("branch7x7dbl_2", c, **DOWN),
             _conv("branch7x7dbl_3", c, **ACROSS), _conv("branch7x7dbl_4", c, **DOWN),
             _conv("branch7x7dbl_5", 192, **ACROSS)),
        _pooled(192)], name=name)


def _reduction_d(name):
    return Concatenate([
        _row(_conv("branch3x3_1", 192, 1), _conv("branch3x3_2", 320, 3, stride=2)),
        _row(_conv("branch7x7x3_1", 192, 1), _conv("branch7x7x3_2", 192, **ACROSS),
             _conv("branch7x7x3_3", 192, **DOWN), _conv("branch7x7x3_4", 192, 3, stride=2)),
        MaxPool2D(3, stride=2)], name=name)


def _module_e(name):
    """1x3 and 3x1 side by side (figure 7)."""
    def both(prefix):
        return Concatenate([_conv(prefix + "a", 384, (1, 3), padding=(0, 1)),
                            _conv(prefix + "b", 384, (3, 1), padding=(1, 0))], name="")

    return Concatenate([
        _conv("branch1x1", 320, 1),
        _row(_conv("branch3x3_1", 384, 1), both("branch3x3_2")),
        _row(_conv("branch3x3dbl_1", 448, 1), _conv("branch3x3dbl_2", 384, 3, padding=1),
             both("branch3x3dbl_3")),
        _pooled(192)], name=name)
