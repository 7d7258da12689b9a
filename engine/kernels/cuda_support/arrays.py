"""CUDA arrays of any library: seen as ndarrays at addresses of the device, made by their owner.

An *owner* is the library of an array: it says which stream is current, and makes results of its
own type, in its own memory.  The ndarrays here have the shape, strides and address of a CUDA array;
they may be looked at, transposed and compared, but reading one would be reading a wild pointer.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import NamedTuple

import numpy as np

from engine._problem import named_dtype

from .device_array import DeviceArray
from .launch import LEGACY_STREAM
from .strides import at, contiguous
from .toolchain import driver

_DLPACK_CUDA = (2, 13)  # device memory, managed memory


class Seen(NamedTuple):
    """A CUDA array, looked at."""

    view: np.ndarray
    ordinal: int  # of its device
    stream: int  # that its owner uses
    owner: object


def is_cuda(value) -> bool:
    """Whether that is an array on a CUDA device."""
    owner = owner_of(type(value))
    if owner is not None:
        return owner.is_cuda(value)
    if value is None or isinstance(value, (np.ndarray, np.generic, list, tuple, int, float)):
        return False
    try:
        if hasattr(value, "__cuda_array_interface__"):
            return True
        return hasattr(value, "__dlpack_device__") and value.__dlpack_device__()[0] in _DLPACK_CUDA
    except Exception:  # a foreign array that is not there at all
        return False


def see(value) -> Seen:
    """An array that `is_cuda`."""
    owner = owner_of(type(value)) or _Interface(value)
    if isinstance(value, DeviceArray):
        owner = _own(value.stream)
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


class _Torch:
    """Tensors; gradients are not followed."""

    def is_cuda(self, value):
        return bool(getattr(value, "is_cuda", False))

    def key(self, value):
        """What two arrays share where all but their addresses is equal."""
        return value.shape, value.stride(), value.dtype, value.get_device()

    def address(self, value):
        return value.data_ptr()

    def copy(self, value):
        return value.detach().clone()

    def see(self, value):
        dtype = named_dtype(str(value.dtype).removeprefix("torch."))
        strides = [step * dtype.itemsize for step in value.stride()]
        view = at(value.data_ptr(), tuple(value.shape), strides, dtype)
        return view, value.device.index or 0

    def stream(self, ordinal):
        try:  # what torch's own generated code calls: no object is made
            return sys.modules["torch"]._C._cuda_getCurrentRawStream(ordinal)
        except AttributeError:
            return sys.modules["torch"].cuda.current_stream(ordinal).cuda_stream

    def maker(self, shape, strides, dtype, ordinal):
        """What makes such an array again and again, for a stream."""
        torch = sys.modules["torch"]
        shape, steps = tuple(shape), tuple(step // dtype.itemsize for step in strides)
        options = {"dtype": getattr(torch, dtype.name), "device": self.device(ordinal)}
        return lambda stream: torch.empty_strided(shape, steps, **options)

    def device(self, ordinal):
        return sys.modules["torch"].device("cuda", ordinal)

    def scratch(self, nbytes, ordinal, stream):
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

    def copy(self, value):
        return value.copy()

    def see(self, value):
        return at(value.data.ptr, value.shape, value.strides, value.dtype), value.device.id

    def stream(self, ordinal):
        return sys.modules["cupy"].cuda.get_current_stream(ordinal).ptr

    def maker(self, shape, strides, dtype, ordinal):
        cupy = sys.modules["cupy"]
        count = 0 if 0 in shape else 1 + sum((size - 1) * step // dtype.itemsize for size, step
                                             in zip(shape, strides, strict=True))

        def make(stream):
            with cupy.cuda.Device(ordinal):
                flat = cupy.empty(count, dtype)
            return cupy.ndarray(shape, dtype, flat.data, strides=strides)

        return make

    def scratch(self, nbytes, ordinal, stream):
        cupy = sys.modules["cupy"]
        with cupy.cuda.Device(ordinal):
            memory = cupy.empty(nbytes, np.uint8)
        return memory.data.ptr, memory


class _Own:
    """Arrays of the device that NumPy's functions compute with; also what others get results in."""

    def __init__(self, stream=LEGACY_STREAM):
        self._stream = stream

    def is_cuda(self, value):
        return isinstance(value, DeviceArray)

    def key(self, value):
        return value.shape, value.strides, value.dtype, value.ordinal, value.stream

    def address(self, value):
        return value.address

    def copy(self, value):
        return value.copy()

    def see(self, value):
        return value.seen, value.ordinal

    def stream(self, ordinal):
        return self._stream

    def maker(self, shape, strides, dtype, ordinal):
        device, shape, strides = driver.device(ordinal), tuple(shape), tuple(strides)
        return lambda stream: DeviceArray.empty(device, shape, strides, dtype, stream)

    def scratch(self, nbytes, ordinal, stream):
        return driver.device(ordinal).scratch(nbytes, stream)


_own = cache(_Own)  # by stream


class _Interface(_Own):
    """Any other array with the CUDA array interface, or DLPack; results are `DeviceArray`."""

    def __init__(self, value):
        self.interface = getattr(value, "__cuda_array_interface__", None)
        super().__init__((self.interface or {}).get("stream") or LEGACY_STREAM)

    def copy(self, value):
        from engine.cuda import asarray

        return asarray(value).copy()

    def see(self, value):
        if self.interface is None:
            return self._see_dlpack(value)
        about = self.interface
        dtype = np.dtype(about["typestr"])
        strides = about.get("strides") or contiguous(tuple(about["shape"]), dtype.itemsize)
        return at(about["data"][0], about["shape"], strides, dtype), 0

    def _see_dlpack(self, value):
        from cuda.core.utils import StridedMemoryView

        seen = StridedMemoryView.from_dlpack(value, stream_ptr=LEGACY_STREAM)
        dtype = np.dtype(seen.dtype)
        steps = seen.strides or contiguous(tuple(seen.shape), 1)
        self.kept = seen  # its memory belongs to it
        return (at(seen.ptr, seen.shape, [step * dtype.itemsize for step in steps], dtype),
                seen.device_id)


OWNERS = {"torch": _Torch(), "cupy": _Cupy(), "engine": _Own()}
