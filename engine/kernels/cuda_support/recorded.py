"""The arrays that a kernel module gets, as arrays that NumPy's functions compute with."""

from __future__ import annotations

from .device_array import DeviceArray
from .launch import address, recorder


def recorded(*arrays):
    """`DeviceArray`s; what is computed with them is launched into the recording."""
    return [None if each is None else
            DeviceArray(recorder(), address(each), each.shape, each.strides, each.dtype, None)
            for each in arrays]
