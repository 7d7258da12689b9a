"""A CUDA driver without a GPU: cuda-bindings calls it, memory is the host's, kernels are emulated.

What the emulated device of `cuda_emulation` leaves out runs here as on a GPU: the driver module,
cuda-bindings itself, and how arguments are packed.
"""

import contextlib
import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from engine.kernels.cuda_support import emulate
from engine.kernels.cuda_support.kernel import Kernel
from engine.kernels.cuda_support.toolchain import cubins
from engine.kernels.cuda_support.toolchain.compiler import Binary

_POINTER, _UNSIGNED = ctypes.c_ulonglong, ctypes.c_uint
_TYPES = {"ADDRESS": ctypes.c_int64, "I64": ctypes.c_int64, "I32": ctypes.c_int32,
          "F64": ctypes.c_double}
_ALLOC = ctypes.CFUNCTYPE(_POINTER, ctypes.c_size_t)
_FREE = ctypes.CFUNCTYPE(None, _POINTER)
_LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, *[_UNSIGNED] * 4, _POINTER,
                           ctypes.POINTER(ctypes.c_void_p))


class Driver:
    """The library, and the emulator behind it."""

    def __init__(self, folder: Path):
        path = Path(folder, "libcuda.so.1")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wl,-soname,libcuda.so.1", "-o", path,
                        Path(__file__).with_name("cuda_driver.c")], check=True)
        self.library = ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
        self.memory = emulate.Memory()
        self.kernels: dict[str, Kernel] = {}
        self.launches: list[str] = []
        self.streams: set[int] = set()
        self.error: Exception | None = None
        self.recorded: list | None = None  # launches of a graph, while it is recorded
        self._blocks: dict[int, np.ndarray] = {}
        self._callbacks = _ALLOC(self._alloc), _FREE(self._blocks.pop), _LAUNCH(self._launch)
        self._set("on_alloc", self._callbacks[0])
        self._set("on_free", self._callbacks[1])
        self.emulate(True)

    def emulate(self, really: bool) -> None:
        """Whether launches do anything."""
        self._set("on_launch", self._callbacks[2] if really else None)

    def _set(self, name, callback):
        place = ctypes.c_void_p.in_dll(self.library, name)
        place.value = callback and ctypes.cast(callback, ctypes.c_void_p).value

    def _alloc(self, nbytes):
        block = np.full(-(-nbytes // 8), np.nan)
        address = self.memory.register(block)
        self._blocks[address] = block
        return address

    def _launch(self, name, x, y, z, threads, stream, params):
        try:
            kernel = self.kernels[name.decode()]
            assert threads == kernel.threads
            args = [_TYPES[kind].from_address(where).value
                    for kind, where in zip(kernel.parameters, params[: len(kernel.parameters)],
                                           strict=True)]
            work = (kernel, (x, y, z), args)
            self.launches.append(kernel.name)
            self.streams.add(stream)
            if self.recorded is None:
                self.run(*work)
            else:
                self.recorded.append(work)
        except Exception as error:  # ctypes would swallow it
            self.error = error
            return 719  # CUDA_ERROR_LAUNCH_FAILED
        return 0

    def run(self, kernel, grid, args):
        emulate.Machine(grid, kernel.threads, self.memory).run(kernel.function, *args)

    @contextlib.contextmanager
    def recording(self):
        """Launches are kept instead of carried out; gives their list."""
        flag = ctypes.c_int.in_dll(self.library, "capturing")
        flag.value, self.recorded = 1, []
        try:
            yield self.recorded
        finally:
            flag.value, self.recorded = 0, None


@contextlib.contextmanager
def loaded(folder: Path):
    """That driver in this process, which must not have looked for one before."""
    driver = Driver(folder)

    def binary(kernel, target):
        driver.kernels[kernel.name] = kernel
        return Binary(kernel.name, b"\x7fELF", "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cubins, "binary", binary)
        yield driver
