"""Keras 3 on its NumPy backend: convolution and pooling by engine, with or without JAX installed.

Keras computes these with JAX even where the backend is NumPy, and cannot be imported there without
JAX.  After `install` it can, and engine does the work:

>>> from engine.interop.keras import install
>>> install()
>>> import keras
>>> keras.ops.max_pool([[[1.0], [5.0], [2.0], [3.0]]], 2)
array([[[5.],
        [3.]]], dtype=float32)
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from types import ModuleType

import numpy as np

import engine
from engine._axes import LAYOUTS
from engine.nn._extras import need

TAKEN_OVER = ("conv", "depthwise_conv", "conv_transpose", "max_pool", "average_pool",
              "adaptive_max_pool", "adaptive_average_pool")


def install() -> None:
    """Let engine do the convolutions and poolings of Keras, whose backend must be NumPy.

    Call it before the first ``import keras``; it then chooses that backend.  Where JAX is installed
    it may also be called later.

    Raises
    ------
    ImportError
        If Keras is not installed.
    ValueError
        If Keras is told (by KERAS_BACKEND) to use another backend, or already does.
    """
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    with _without_jax():
        keras = need("keras", "engine.interop.keras", "keras")
    if keras.config.backend() != "numpy":
        raise ValueError(f"install: the backend of Keras is {keras.config.backend()!r}, expected "
                         "'numpy' (set KERAS_BACKEND=numpy before keras is imported)")
    backend = importlib.import_module("keras.src.backend.numpy.nn")
    for name in TAKEN_OVER:
        setattr(backend, name, globals()[name])  # separable_conv calls the first two


@contextmanager
def _without_jax():
    """Let Keras be imported: what it takes from JAX is replaced here, or (fft) by NumPy."""
    if "keras" in sys.modules or _has_jax():
        yield
        return
    jax, lax = _Missing("jax"), _Missing("jax.lax")
    math = ModuleType("keras.src.backend.jax.math")
    jax.lax, math.fft, math.fft2 = lax, _fft, _fft2
    names = {each.__name__: each for each in (jax, lax, math)}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


class _Missing(ModuleType):
    """A module that can be imported, while nothing can be used."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"{self.__name__}.{name} is not there: JAX is not installed")


def _has_jax() -> bool:
    try:
        importlib.import_module("jax")
    except ImportError:
        return False
    return True


def _fft(x):
    result = np.fft.fft(x[0] + 1j * x[1])
    return result.real.astype(x[0].dtype), result.imag.astype(x[0].dtype)


def _fft2(x):
    result = np.fft.fft2(x[0] + 1j * x[1])
    return result.real.astype(x[0].dtype), result.imag.astype(x[0].dtype)


# ---- the functions of keras.src.backend.numpy.nn, with the same arguments ------------------------

def conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Kernels are (*size, in / groups, out)."""
    inputs, kernel = _array(inputs), _array(kernel)
    layout = _layout(inputs, data_format)
    channels, channels_each = inputs.shape[layout.index("C")], kernel.shape[-2]
    if channels % channels_each:
        raise ValueError("The number of input channels must be evenly divisible by kernel's "
                         f"in_channels. Received input channels {channels} and kernel in_channels "
                         f"{channels_each}.")
    return _conv(inputs, kernel, channels // channels_each, strides, padding, layout,
                 dilation_rate)


def depthwise_conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """Kernels are (*size, in, out / in)."""
    inputs, kernel = _array(inputs), _array(kernel)
    layout = _layout(inputs, data_format)
    channels = inputs.shape[layout.index("C")]
    if kernel.shape[-2] != channels:
        raise ValueError("The number of input channels must match the kernel's in_channels. "
                         f"Received input channels {channels} and kernel in_channels "
                         f"{kernel.shape[-2]}.")
    kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
    return _conv(inputs, kernel, channels, strides, padding, layout, dilation_rate)


def _conv(inputs, kernel, groups, strides, padding, layout, dilation_rate):
    rank = len(layout) - 2
    size = [n for n, axis in zip(inputs.shape, layout, strict=True) if axis not in "NC"]
    steps = _each(dilation_rate, rank)
    if padding == "valid" and any(
            step * (k - 1) >= n for n, k, step in zip(size, kernel.shape, steps, strict=False)):
        raise ValueError("The convolution operation resulted in an empty output. This can happen "
                         "if the input is too small for the given kernel size, strides, dilation "
                         "rate, and padding mode.")
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    return _operation("conv", layout)(inputs, weight, stride=_each(strides, rank), padding=padding,
                                      dilation=steps, groups=groups, layout=layout)


def conv_transpose(inputs, kernel, strides=1, padding="valid", output_padding=None,
                   data_format=None, dilation_rate=1):
    """Kernels are (*size, out, in)."""
    from keras.src.backend.common.backend_utils import (
        compute_conv_transpose_padding_args_for_jax as added_by_keras,
    )

    inputs, kernel = _array(inputs), _array(kernel)
    layout = _layout(inputs, data_format)
    rank = len(layout) - 2
    if kernel.shape[-1] != inputs.shape[layout.index("C")]:
        raise ValueError("The number of input channels must match the kernel's in_channels. "
                         f"Received input channels {inputs.shape[layout.index('C')]} and kernel "
                         f"in_channels {kernel.shape[-1]}.")
    steps, dilation = _each(strides, rank), _each(dilation_rate, rank)
    added = added_by_keras(inputs.shape, kernel.shape, steps, padding, output_padding, dilation)
    pad, extra = [], []
    for k, step, (before, after) in zip(kernel.shape, dilation, added, strict=False):
        reach = step * (k - 1)  # what a transposed convolution without padding adds at each end
        pad.append((reach - before, max(reach - after, 0)))
        extra.append(max(after - reach, 0))
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    return _operation("conv_transpose", layout)(
        inputs, weight, stride=steps, padding=tuple(pad), output_padding=tuple(extra),
        dilation=dilation, layout=layout)


def max_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    return _pool("max_pool", inputs, pool_size, strides, padding, data_format)


def average_pool(inputs, pool_size, strides=None, padding="valid", data_format=None):
    return _pool("avg_pool", inputs, pool_size, strides, padding, data_format,
                 count_include_pad=False)


def _pool(name, inputs, pool_size, strides, padding, data_format, **options):
    inputs = _array(inputs)
    layout = _layout(inputs, data_format)
    rank = len(layout) - 2
    strides = pool_size if strides is None else strides
    return _operation(name, layout)(inputs, _each(pool_size, rank), stride=_each(strides, rank),
                                    padding=padding, layout=layout, **options)


def adaptive_max_pool(inputs, output_size, data_format=None):
    return _adaptive("adaptive_max_pool", inputs, output_size, data_format)


def adaptive_average_pool(inputs, output_size, data_format=None):
    return _adaptive("adaptive_avg_pool", inputs, output_size, data_format)


def _adaptive(name, inputs, output_size, data_format):
    inputs = _array(inputs)
    layout = _layout(inputs, data_format)
    return _operation(name, layout)(inputs, _each(output_size, len(layout) - 2), layout=layout)


# ---- parts -------------------------------------------------------------------------------------

def _array(value) -> np.ndarray:
    """What a tensor or a variable of the NumPy backend holds."""
    from keras.src.backend.numpy.core import convert_to_tensor

    return convert_to_tensor(value)


def _layout(inputs, data_format) -> str:
    from keras.src.backend import standardize_data_format

    first, last = LAYOUTS[inputs.ndim - 2]
    return first if standardize_data_format(data_format) == "channels_first" else last


def _operation(name: str, layout: str):
    return getattr(engine, f"{name}{len(layout) - 2}d")


def _each(value, rank: int) -> tuple[int, ...]:
    """One number for every spatial axis."""
    return (value,) * rank if isinstance(value, (int, np.integer)) else tuple(value)
