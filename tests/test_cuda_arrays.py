"""CUDA arrays of CuPy and of DLPack in and out of kernels; library and device are stand-ins."""

import contextlib
import sys
import types

import naive
import numpy as np
import pytest
from cuda_emulation import emulated, host
from tolerance import assert_equal

import engine
from engine.kernels.cuda_support import arrays

RNG = np.random.default_rng(0)
X = RNG.integers(-4, 5, (2, 8, 7, 9)).astype(np.float32)
W = RNG.integers(-4, 5, (12, 8, 3, 3)).astype(np.float32)


@pytest.fixture
def device():
    with emulated() as device:
        yield device


@pytest.fixture
def cupy(device, monkeypatch):
    """The part of CuPy that engine uses, on the memory of the host."""
    class ndarray:
        def __init__(self, shape, dtype, memptr, strides=None):
            count = memptr.values.size
            flat = memptr.values.view(np.dtype(dtype)) if count else memptr.values
            self.values = np.lib.stride_tricks.as_strided(flat, shape, strides)
            self.data, self.device = memptr, types.SimpleNamespace(id=0)
            self.shape, self.strides = self.values.shape, self.values.strides
            self.dtype = self.values.dtype

    def pointer(values):
        return types.SimpleNamespace(ptr=device.memory.register(values), values=values)

    def empty(count, dtype):
        flat = np.zeros(count, dtype)
        return ndarray(flat.shape, dtype, pointer(flat), flat.strides)

    def asarray(values):
        result = ndarray(values.shape, values.dtype, pointer(values.reshape(-1)), values.strides)
        return result

    ndarray.__module__ = "cupy"
    cuda = types.SimpleNamespace(
        Device=lambda ordinal: contextlib.nullcontext(),
        get_current_stream=lambda ordinal: types.SimpleNamespace(ptr=7))
    module = types.SimpleNamespace(ndarray=ndarray, empty=empty, asarray=asarray, cuda=cuda)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def test_cupy(cupy, device, monkeypatch):
    """In and out, on the current stream, the second time by replay."""
    streams, launch = [], device.launch

    def noted(kernel, grid, args, stream):
        streams.append(stream)
        launch(kernel, grid, args, stream)

    monkeypatch.setattr(device, "launch", noted)
    for x in (X, X[::-1].copy()):
        y = engine.conv2d(cupy.asarray(x), cupy.asarray(W), padding=1)
        assert type(y) is cupy.ndarray
        assert_equal(y.values, naive.conv(x, W, pads=((1, 1), (1, 1))))
    assert set(streams) == {7}
    pooled, places = engine.max_pool2d(cupy.asarray(X), 3, return_indices=True)
    expected = engine.max_pool2d(X, 3, return_indices=True)
    assert_equal(pooled.values, expected[0])
    assert_equal(places.values, expected[1])


def test_mixed_libraries(cupy, device, monkeypatch):
    """The call waits for the stream of the other library."""
    waits = []
    monkeypatch.setattr(device, "wait", lambda *streams: waits.append(streams))

    class Other:
        __cuda_array_interface__ = {"shape": W.shape, "typestr": W.dtype.str, "version": 3,
                                    "data": (device.memory.register(W), False), "stream": 5}

    y = engine.conv2d(cupy.asarray(X), Other())
    assert type(y) is cupy.ndarray and waits == [(7, 5), (5, 7)]
    assert_equal(y.values, naive.conv(X, W))


def test_dlpack(device):
    """Arrays that have nothing but DLPack."""
    pytest.importorskip("cuda.core")
    asked = []

    class Packed:
        def __init__(self, values):
            device.memory.register(values)
            self.values = values

        def __dlpack_device__(self):
            return 2, 0

        def __dlpack__(self, *, stream=None, **options):
            asked.append(stream)
            return self.values.__dlpack__()

    y = engine.conv2d(Packed(X[:, :, ::2]), Packed(W))
    assert_equal(host(y), naive.conv(X[:, :, ::2], W))
    assert set(asked) == {1}  # the producer makes it safe to read on the default stream


def test_what_is_no_cuda_array():
    class Unhappy:
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("not here")

    for value in (None, X, 3, [1.0], np.float32(1), Unhappy(), "x"):
        assert not arrays.is_cuda(value)
