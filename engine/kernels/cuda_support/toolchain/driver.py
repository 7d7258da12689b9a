"""The CUDA driver: devices, their memory, and launches; through cuda-bindings."""

from __future__ import annotations

import ctypes
import functools
import struct
import threading
from collections import defaultdict
from importlib import metadata

import numpy as np

from ..kernel import Kernel
from . import compiler, cubins

_GRAIN = 512  # bytes: memory is taken in multiples of it
_ADDRESS = struct.Struct("q")
_CODES = {"ADDRESS": "q", "I64": "q", "I32": "i", "F64": "d"}


@functools.cache
def missing() -> str | None:
    """Why no device can be used and what was looked for, or None."""
    looked = []
    for name in ("cuda-bindings", "numba-cuda"):
        try:
            looked.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            looked.append(f"{name}: not installed")
    try:
        looked.append(compiler.tool("ptxas"))
    except compiler.Missing:
        looked.append("ptxas: not installed")
    found = "not installed" not in " ".join(looked)
    if found:
        try:
            from cuda.bindings import driver as cuda

            _checked(cuda.cuInit(0))
            count = _checked(cuda.cuDeviceGetCount())
            if count:
                return None
            looked.append("devices: 0")
        except Exception as error:  # no library of a driver, or one that does not work
            looked.append(f"the CUDA driver: {str(error).strip().splitlines()[0]}")
    hint = "" if found else '; pip install "convengine[cuda]"'
    return f"there is no CUDA device to be used (looked for {', '.join(looked)}{hint})"


class CudaError(RuntimeError):
    """What the driver answered."""


def _checked(result):
    """The values of an answer of the driver."""
    from cuda.bindings import driver as cuda

    status, *values = result
    if status != cuda.CUresult.CUDA_SUCCESS:
        raise _refused(status)
    return values[0] if len(values) == 1 else values or None


def _refused(status) -> CudaError:
    return CudaError(f"engine: the CUDA driver answered {status.name}")


@functools.cache
def device(ordinal: int) -> Device:
    """The device of that number."""
    return Device(ordinal)


class Device:
    """One GPU, in the context that all libraries of the runtime API share."""

    def __init__(self, ordinal: int):
        from cuda.bindings import driver as cuda

        self._cuda = cuda
        _checked(cuda.cuInit(0))
        self.ordinal = ordinal
        number = _checked(cuda.cuDeviceGet(ordinal))
        attribute = cuda.CUdevice_attribute
        major, minor = (_checked(cuda.cuDeviceGetAttribute(which, number)) for which in (
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR))
        if major < 8:
            raise CudaError(f"engine: the CUDA device has compute capability {major}.{minor}, "
                            "expected at least 8.0")
        self.target = f"sm_{major}{minor}" + ("a" if (major, minor) == (9, 0) else "")
        self.context = _checked(cuda.cuDevicePrimaryCtxRetain(number))
        self._set_current = cuda.cuCtxSetCurrent
        self._launchers: dict[str, _Launcher] = {}
        self._lock = threading.Lock()
        self._idle: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def enter(self) -> None:
        """Make its context that of this thread."""
        (status,) = self._set_current(self.context)
        if status:
            raise _refused(status)

    def upload(self, array: np.ndarray) -> int:
        """The address of a copy that stays."""
        self.enter()
        address = int(_checked(self._cuda.cuMemAlloc(max(array.nbytes, 1))))
        if array.nbytes:
            source = np.ascontiguousarray(array)
            _checked(self._cuda.cuMemcpyHtoD(address, source.ctypes.data, source.nbytes))
        return address

    def scratch(self, nbytes: int, stream: int):
        """The address of memory for work on a stream, and what keeps it."""
        memory = Memory(self, max(-(-nbytes // _GRAIN), 1) * _GRAIN, stream)
        return memory.address, memory

    def take(self, nbytes: int, stream: int) -> int:
        """The address of memory that nothing after this on the stream still uses."""
        idle = self._idle[nbytes, stream]
        try:
            return idle.pop()
        except IndexError:
            pass
        self.enter()
        status, address = self._cuda.cuMemAlloc(nbytes)
        if status == self._cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            self.free_idle()
            status, address = self._cuda.cuMemAlloc(nbytes)
            if status == self._cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
                raise MemoryError(f"engine: {nbytes} bytes do not fit into the memory of CUDA "
                                  f"device {self.ordinal}")
        return int(_checked((status, address)))

    def give_back(self, address: int, nbytes: int, stream: int) -> None:
        """Memory for whoever needs as much on that stream, which runs what it is given in order."""
        self._idle[nbytes, stream].append(address)

    def free_idle(self) -> None:
        """Return to the driver what is kept for later; waits for the device."""
        for addresses in list(self._idle.values()):
            while addresses:
                _checked(self._cuda.cuMemFree(addresses.pop()))

    def copy_in(self, address: int, array: np.ndarray, stream: int) -> None:
        """From a contiguous array of the host, which may change as soon as this is done."""
        if array.nbytes:
            _checked(self._cuda.cuMemcpyHtoDAsync(address, array.ctypes.data, array.nbytes, stream))

    def copy_out(self, array: np.ndarray, address: int, stream: int) -> None:
        """To a contiguous array of the host, after what the stream has been given."""
        if array.nbytes:
            _checked(self._cuda.cuMemcpyDtoHAsync(array.ctypes.data, address, array.nbytes, stream))
            _checked(self._cuda.cuStreamSynchronize(stream))

    def wait(self, stream: int, other: int) -> None:
        """Let `stream` go on only after what `other` has been given so far."""
        cuda = self._cuda
        event = _checked(cuda.cuEventCreate(cuda.CUevent_flags.CU_EVENT_DISABLE_TIMING))
        _checked(cuda.cuEventRecord(event, other))
        _checked(cuda.cuStreamWaitEvent(stream, event, 0))
        _checked(cuda.cuEventDestroy(event))

    def launch(self, kernel: Kernel, grid, args, stream: int) -> None:
        self._launcher(kernel)(grid, args, stream)

    def prepared(self, kernel: Kernel, grid, args, moving):
        """As `launch.patched`, with the other arguments packed beforehand."""
        return self._launcher(kernel).prepared(grid, args, moving)

    def _launcher(self, kernel: Kernel) -> _Launcher:
        launcher = self._launchers.get(kernel.name)
        if launcher is None:
            with self._lock:
                launcher = self._launchers.get(kernel.name) or _Launcher(self._cuda, kernel,
                                                                         self.target)
                self._launchers[kernel.name] = launcher
        return launcher


class Memory:
    """Memory of a device, for others again when nothing refers to this."""

    __slots__ = ("_device", "_nbytes", "_stream", "address")

    def __init__(self, device: Device, nbytes: int, stream: int):
        self._device, self._nbytes, self._stream = device, nbytes, stream
        self.address = device.take(nbytes, stream)

    def __del__(self):
        if hasattr(self, "address"):
            self._device.give_back(self.address, self._nbytes, self._stream)


class _Launcher:
    """A loaded kernel."""

    def __init__(self, cuda, kernel: Kernel, target: str):
        made = cubins.binary(kernel, target)
        self._cuda = cuda
        self._module = _checked(cuda.cuModuleLoadData(made.cubin))
        self._function = _checked(cuda.cuModuleGetFunction(self._module, made.entry.encode()))
        self._threads = kernel.threads
        self._packing, self._offsets = packing(kernel)

    def __call__(self, grid, args, stream) -> None:
        self.prepared(grid, args, [])(stream, ())

    def prepared(self, grid, args, moving):
        launch, function, threads, (x, y, z) = (self._cuda.cuLaunchKernel, self._function,
                                                self._threads, grid)
        packed = self._packing.pack(*args)
        places = [(self._offsets[i], number, offset) for i, number, offset in moving]
        buffers = {}  # one for every thread of Python: the driver reads it without the GIL
        put, this_thread = _ADDRESS.pack_into, threading.get_ident

        def run(stream, addresses):
            try:
                buffer, pointers, _ = buffers[this_thread()]
            except KeyError:
                buffer, pointers, _ = buffers[this_thread()] = self._buffer(packed)
            for place, number, offset in places:
                put(buffer, place, addresses[number] + offset)
            (status,) = launch(function, x, y, z, threads, 1, 1, 0, stream, pointers, 0)
            if status:
                raise _refused(status)

        return run

    def _buffer(self, packed: bytes):
        """Room for arguments, the address of their addresses, and what keeps those alive."""
        buffer = ctypes.create_string_buffer(packed, len(packed))
        start = ctypes.addressof(buffer)
        pointers = (ctypes.c_void_p * len(self._offsets))(
            *(start + offset for offset in self._offsets))
        return buffer, ctypes.addressof(pointers), pointers


def packing(kernel: Kernel) -> tuple[struct.Struct, list[int]]:
    """How the arguments of a kernel lie in a buffer, and where each one starts."""
    codes = [_CODES[each] for each in kernel.parameters]
    offsets = [struct.calcsize("".join(codes[: i + 1])) - struct.calcsize(code)
               for i, code in enumerate(codes)]
    return struct.Struct("".join(codes)), offsets
