"""CUDA arrays without a GPU: their memory is that of the host, kernels run in the emulator."""

import contextlib

import numpy as np
import pytest

from engine import _plan
from engine.kernels import conv2d_cuda
from engine.kernels.cuda_support import arrays, emulate
from engine.kernels.cuda_support.toolchain import driver


class Array:
    """What any library's CUDA array is to engine: the CUDA array interface, nothing else."""

    def __init__(self, values, device):
        self.values = values
        plain = values.dtype if values.dtype.kind in "iuf" else np.dtype(f"u{values.itemsize}")
        self.__cuda_array_interface__ = {
            "shape": values.shape, "strides": values.strides, "typestr": plain.str,
            "data": (device.memory.register(values), False), "version": 3}


@contextlib.contextmanager
def emulated(device=None):
    """A device that is emulated, in place of those of this machine."""
    device = device or emulate.Device()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "missing", lambda: None)
        patch.setattr(driver, "device", lambda ordinal: device)
        patch.setattr(conv2d_cuda, "_LEAST_BLOCKS", 1)  # large tiles even for small problems
        _plan.clear()
        yield device
    _plan.clear()


def host(result):
    """A result as an ndarray."""
    return result.copy_to_host()


@contextlib.contextmanager
def emulated_torch():
    """The same, and torch's tensors of the host pass for such of the device."""
    with emulated() as device, torch_on(device.memory) as patch:
        patch.setattr(type(arrays.OWNERS["torch"]), "stream", lambda self, ordinal: 0)
        yield device


@contextlib.contextmanager
def torch_on(memory):
    """torch's tensors of the host pass for CUDA tensors, in memory that kernels may touch."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        owner = type(arrays.OWNERS["torch"])
        see, address, scratch = owner.see, owner.address, owner.scratch

        def register(tensor):
            if tensor.numel():
                size = tensor.untyped_storage().nbytes()
                memory.register(torch.empty(0, dtype=torch.uint8).set_(
                    tensor.untyped_storage(), 0, (size,)).numpy())

        def kept(self, *args):
            where, tensor = scratch(self, *args)
            register(tensor)
            return where, tensor

        patch.setattr(owner, "is_cuda", lambda self, value: True)
        patch.setattr(owner, "address", lambda self, value: (register(value),
                                                             address(self, value))[1])
        patch.setattr(owner, "see", lambda self, value: (register(value), see(self, value))[1])
        patch.setattr(owner, "scratch", kept)
        patch.setattr(owner, "device", lambda self, ordinal: torch.device("cpu"))
        yield patch
