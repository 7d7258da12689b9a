"""CUDA arrays of any library: seen as ndarrays at addresses of the device, made by their owner.

An *owner* is the library of an array: it says which stream is current, and makes results of its
own type, in its own memory.  The ndarrays here have the shape, strides and address of a CUDA array;
they may be looked at, transposed and compared, but reading one would be reading a wild pointer.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from engine._problem import named_dtype

from .toolchain import driver

_DLPACK_CUDA = (2, 13)  # device memory, managed memory
_LEGACY_STREAM = 1  # what the CUDA array interface calls the default stream


class Seen(NamedTuple):
    """A CUDA array, looked at."""

    view: np.ndarray
    ordinal: int  # of its device
    stream: int  # that its owner uses
    owner: object


def is_cuda(value) -> bool:
    """Whether that is an array on a CUDA device."""
    if value is None or isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        return False
    owner = owner_of(type(value))
    if owner is not None:
        return owner.is_cuda(value)
    try:
        if hasattr(value, "__cuda_array_interface__"):
            return True
        return hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] in _DLPACK_CUDA
    except Exception:  # a foreign array that is not there at all
        return False


def see(value) -> Seen:
    """An array that `is_cuda`."""
    owner = owner_of(type(value)) or _Interface(value)
    view, ordinal = owner.see(value)
    return Seen(view, ordinal, owner.stream(ordinal), owner)


@cache
def owner_of(kind: type):
    """The library with arrays of that type, or None where it is not a known one."""
    for each in kind.__mro__:
        owner = OWNERS.get(each.__module__.partition(".")[0])
        if owner is not None:
            return owner
    return None


def at(address: int, shape, strides, dtype) -> np.ndarray:
    """An ndarray at an address of the device; strides in bytes."""
    dtype = np.dtype(dtype)
    plain = dtype if dtype.kind in "iufc" else np.dtype(f"u{dtype.itemsize}")

    class Holder:
        __array_interface__ = {"data": (address, False), "shape": tuple(shape), "version": 3,
                               "strides": tuple(strides), "typestr": plain.str}

    if 0 in shape:
        return np.empty(shape, dtype)
    return np.asarray(Holder()).view(dtype)


class _Torch:
    """Tensors; gradients are not followed."""

    def is_cuda(self, value):
        return bool(getattr(value, "is_cuda", False))

    def key(self, value):
        """What two arrays share where all but their addresses is equal."""
        return value.shape, value.stride(), value.dtype, value.device

    def address(self, value):
        return value.data_ptr()

    def see(self, value):
        dtype = named_dtype(str(value.dtype).removeprefix("torch."))
        strides = [step * dtype.itemsize for step in value.stride()]
        view = at(value.data_ptr(), tuple(value.shape), strides, dtype)
        return view, value.device.index or 0

    def stream(self, ordinal):
        return sys.modules["torch"].cuda.current_stream(ordinal).cuda_stream

    def maker(self, shape, strides, dtype, ordinal):
        """What makes such an array again and again."""
        torch = sys.modules["torch"]
        steps = tuple(step // dtype.itemsize for step in strides)
        return partial(torch.empty_strided, tuple(shape), steps,
                       dtype=getattr(torch, dtype.name), device=self.device(ordinal))

    def device(self, ordinal):
        return sys.modules["torch"].device("cuda", ordinal)

    def scratch(self, nbytes, ordinal):
        torch = sys.modules["torch"]
        memory = torch.empty(nbytes, dtype=torch.uint8, device=self.device(ordinal))
        return memory.data_ptr(), memory


class _Cupy:
    def is_cuda(self, value):
        return hasattr(value, "data")  # the library has other types as well

    def key(self, value):
        return value.shape, value.strides, value.dtype, value.device.id

    def address(self, value):
        return value.data.ptr

    def see(self, value):
        return at(value.data.ptr, value.shape, value.strides, value.dtype), value.device.id

    def stream(self, ordinal):
        return sys.modules["cupy"].cuda.get_current_stream(ordinal).ptr

    def maker(self, shape, strides, dtype, ordinal):
        cupy = sys.modules["cupy"]
        count = 0 if 0 in shape else 1 + sum((size - 1) * step // dtype.itemsize for size, step
                                             in zip(shape, strides, strict=True))

        def make():
            with cupy.cuda.Device(ordinal):
                flat = cupy.empty(count, dtype)
            return cupy.ndarray(shape, dtype, flat.data, strides=strides)

        return make

    def scratch(self, nbytes, ordinal):
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(ordinal):
            memory = cupy.empty(nbytes, np.uint8)
        return memory.data.ptr, memory


class _Interface:
    """Any other array with the CUDA array interface, or DLPack; results are `DeviceArray`."""

    def __init__(self, value):
        self.interface = getattr(value, "__cuda_array_interface__", None)

    def see(self, value):
        if self.interface is None:
            return self._see_dlpack(value)
        about = self.interface
        dtype = np.dtype(about["typestr"])
        strides = about.get("strides") or _contiguous(about["shape"], dtype.itemsize)
        return at(about["data"][0], about["shape"], strides, dtype), 0

    def _see_dlpack(self, value):
        from cuda.core.utils import StridedMemoryView

        seen = StridedMemoryView.from_dlpack(value, stream_ptr=_LEGACY_STREAM)
        dtype = np.dtype(seen.dtype)
        steps = seen.strides or _contiguous(seen.shape, 1)
        self.kept = seen  # its memory belongs to it
        return (at(seen.ptr, seen.shape, [step * dtype.itemsize for step in steps], dtype),
                seen.device_id)

    def stream(self, ordinal):
        about = self.interface or {}
        return about.get("stream") or _LEGACY_STREAM

    def maker(self, shape, strides, dtype, ordinal):
        return partial(DeviceArray, driver.device(ordinal), shape, strides, dtype)

    def address(self, value):
        return value.address

    def scratch(self, nbytes, ordinal):
        return driver.device(ordinal).scratch(nbytes)


OWNERS = {"torch": _Torch(), "cupy": _Cupy()}


def _contiguous(shape, itemsize):
    strides = [itemsize]
    for size in shape[:0:-1]:
        strides.append(strides[-1] * size)
    return tuple(strides[::-1])[len(strides) - len(shape):]


class DeviceArray:
    """A result for arrays whose library is not known: the CUDA array interface, and a way home."""

    def __init__(self, device, shape, strides, dtype):
        self.shape, self.strides, self.dtype = tuple(shape), tuple(strides), np.dtype(dtype)
        self._device = device
        self._nbytes = 0 if 0 in self.shape else self.dtype.itemsize + sum(
            (size - 1) * step for size, step in zip(shape, strides, strict=True))
        self.address, self._memory = device.scratch(max(self._nbytes, 1))

    @property
    def __cuda_array_interface__(self):
        plain = self.dtype if self.dtype.kind in "iuf" else np.dtype(f"u{self.dtype.itemsize}")
        return {"shape": self.shape, "strides": self.strides, "typestr": plain.str,
                "data": (self.address, False), "version": 3, "stream": _LEGACY_STREAM}

    def copy_to_host(self) -> np.ndarray:
        """A copy as an ndarray, of the same strides."""
        flat = np.empty(self._nbytes, np.uint8)
        self._device.copy_out(flat, self.address)
        flat = flat.view(self.dtype)
        return np.lib.stride_tricks.as_strided(flat, self.shape, self.strides)
