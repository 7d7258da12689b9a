"""Arrays on a GPU that NumPy's own functions compute with.

``np.exp(x)``, ``x * 2``, ``x.sum(axis=0)`` and ``x[:, 1:] = y`` on a `DeviceArray` run kernels of
the device and give arrays of the device, by NumPy's protocols (NEP 13 and NEP 18) and with NumPy's
dtypes and shapes.  A host array as an operand is copied over; nothing is ever copied back unasked.
What is not there raises TypeError.
"""

from __future__ import annotations

import math

import numpy as np

from . import array_functions, reductions, ufuncs
from .launch import LEGACY_STREAM
from .strides import at, contiguous, dense, flat_bytes, is_dense, reshaped, viewed

VIEWS = (int, np.integer, slice, type(None), type(...))  # what an index may be made of


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array in the memory of a CUDA device.

    Attributes
    ----------
    shape, strides, dtype, ndim, size, nbytes
        As of an ndarray.
    address : int
        Of its first element, on the device.
    stream : int
        The CUDA stream that its operations are queued on.
    """

    def __init__(self, device, address, shape, strides, dtype, memory, stream=LEGACY_STREAM):
        self.device, self.address, self.stream = device, address, stream
        self.shape, self.strides, self.dtype = tuple(shape), tuple(strides), np.dtype(dtype)
        self._memory = memory

    @classmethod
    def empty(cls, device, shape, strides, dtype, stream=LEGACY_STREAM):
        """One in memory of its own; its strides leave no gaps."""
        dtype = np.dtype(dtype)
        address, memory = device.scratch(max(math.prod(shape) * dtype.itemsize, 1), stream)
        return cls(device, address, shape, strides, dtype, memory, stream)

    @classmethod
    def copied(cls, device, values: np.ndarray, stream=LEGACY_STREAM):
        """A copy of a host array, in its memory order."""
        values = values.astype(values.dtype.newbyteorder("="), order="K")
        made = cls.empty(device, values.shape, values.strides, values.dtype, stream)
        device.enter()
        device.copy_in(made.address, flat_bytes(values), stream)
        return made

    # ---- what it is -------------------------------------------------------------------------

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def T(self):
        return self.transpose()

    @property
    def __cuda_array_interface__(self):
        plain = self.dtype if self.dtype.kind in "biuf" else np.dtype(f"u{self.itemsize}")
        return {"shape": self.shape, "strides": self.strides, "typestr": plain.str,
                "data": (self.address, False), "version": 3, "stream": self.stream}

    def __len__(self):
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __repr__(self):
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, device=cuda:{self.ordinal})"

    @property
    def ordinal(self) -> int:
        return self.device.ordinal

    # ---- to the host ------------------------------------------------------------------------

    def copy_to_host(self) -> np.ndarray:
        """A copy as an ndarray, in the same memory order."""
        if not self.size:
            return np.empty(self.shape, self.dtype)
        dense = self if is_dense(self) else self.copy()
        flat = np.empty(self.nbytes, np.uint8)
        self.device.enter()
        self.device.copy_out(flat, dense.address, self.stream)
        return np.lib.stride_tricks.as_strided(flat.view(self.dtype), self.shape, dense.strides)

    def item(self):
        """Its only element, as a number of Python."""
        return self.copy_to_host().item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    def __array__(self, dtype=None, copy=None):
        raise TypeError("an array on a CUDA device is not copied to the host unasked, expected "
                        "engine.cuda.asnumpy(array)")

    def __reduce__(self):
        return _again, (self.copy_to_host(), self.ordinal)

    def __deepcopy__(self, memo):
        return self.copy()

    # ---- views ------------------------------------------------------------------------------

    @property
    def seen(self) -> np.ndarray:
        """An ndarray of its shape, strides and address, which must never be read."""
        return at(self.address, self.shape, self.strides, self.dtype)

    def _view(self, seen: np.ndarray):
        address = seen.__array_interface__["data"][0] if seen.size else self.address
        return DeviceArray(self.device, address, seen.shape, seen.strides, self.dtype,
                           self._memory, self.stream)

    def __getitem__(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        for each in keys:
            if not isinstance(each, VIEWS) or isinstance(each, bool):
                raise TypeError(f"an array on a CUDA device has no index {each!r}, expected "
                                "integers and slices")
        return self._view(self.seen[keys if ... in keys else (*keys, ...)])

    def __setitem__(self, key, value):
        ufuncs.assign(self[key], value)

    def transpose(self, *axes):
        return self._view(self.seen.transpose(*axes))

    def expand_dims(self, axis):
        return self._view(np.expand_dims(self.seen, axis))

    def broadcast_to(self, shape):
        return self._view(np.broadcast_to(self.seen, shape))

    def reshape(self, *shape):
        """A view where its elements lie in a fitting order, else a copy."""
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        shape = reshaped(shape, self.size)
        strides = viewed(self.shape, self.strides, shape, self.itemsize)
        source = self if strides else self.copy("C")
        return DeviceArray(self.device, source.address, shape,
                           strides or contiguous(shape, self.itemsize), self.dtype,
                           source._memory, self.stream)

    def ravel(self):
        return self.reshape(-1)

    # ---- copies -----------------------------------------------------------------------------

    def copy(self, order="K"):
        """With the axes in the same order in memory ("K") or in that of C."""
        return self.astype(self.dtype, order=order)

    def astype(self, dtype, order="K", copy=True):
        dtype = np.dtype(dtype)
        if dtype == self.dtype and not copy:
            return self
        order = self.strides if order == "K" else (0,) * self.ndim
        strides = dense(self.shape, order, dtype.itemsize)
        made = DeviceArray.empty(self.device, self.shape, strides, dtype, self.stream)
        ufuncs.assign(made, self)
        return made

    # ---- computing --------------------------------------------------------------------------

    def sum(self, axis=None, dtype=None, keepdims=False):
        return reductions.reduce("add", self, axis, dtype, keepdims)

    def mean(self, axis=None, dtype=None, keepdims=False):
        return reductions.mean(self, axis, dtype, keepdims)

    def max(self, axis=None, keepdims=False):
        return reductions.reduce("maximum", self, axis, None, keepdims)

    def min(self, axis=None, keepdims=False):
        return reductions.reduce("minimum", self, axis, None, keepdims)

    def all(self, axis=None, keepdims=False):
        return reductions.reduce("minimum", self != 0, axis, None, keepdims)

    def any(self, axis=None, keepdims=False):
        return reductions.reduce("maximum", self != 0, axis, None, keepdims)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, dtype=None, **options):
        if method != "__call__" or options or ufunc.__name__ not in ufuncs.KERNELS:
            return NotImplemented
        return ufuncs.call(ufunc, inputs, out and out[0], dtype)

    def __array_function__(self, function, types, args, kwargs):
        if function in array_functions.MAKERS:  # it was called with like=self
            return array_functions.MAKERS[function](self, *args, **kwargs)
        known = array_functions.FUNCTIONS.get(function)
        return NotImplemented if known is None else known(*args, **kwargs)


def _again(values, ordinal):
    """Unpickle."""
    from .toolchain import driver

    return DeviceArray.copied(driver.device(ordinal), values)
