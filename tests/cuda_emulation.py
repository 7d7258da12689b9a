"""CUDA arrays without a GPU: their memory is that of the host, kernels run in the emulator."""

import contextlib

import numpy as np
import pytest

from engine import _plan
from engine.kernels.cuda_support import driver, emulate


class Array:
    """What any library's CUDA array is to engine: the CUDA array interface, nothing else."""

    def __init__(self, values, device):
        self.values = values
        plain = values.dtype if values.dtype.kind in "iuf" else np.dtype(f"u{values.itemsize}")
        self.__cuda_array_interface__ = {
            "shape": values.shape, "strides": values.strides, "typestr": plain.str,
            "data": (device.memory.register(values), False), "version": 3}


@contextlib.contextmanager
def emulated():
    """A device that is emulated, in place of those of this machine."""
    device = emulate.Device()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "missing", lambda: None)
        patch.setattr(driver, "device", lambda ordinal: device)
        _plan.clear()
        yield device
    _plan.clear()


def host(result):
    """A result as an ndarray."""
    return result.copy_to_host()
