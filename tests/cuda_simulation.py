"""Kernels in the CUDA simulator of Numba: a program, run with NUMBA_ENABLE_CUDASIM=1.

The kernels are what the emulator of engine runs, but here each thread of the GPU is a thread of
Python that the simulator starts, and it is the simulator's barrier and shared memory that they
meet at.  Tensor cores are beyond it: warps compute together there.
"""

import json

import naive
import numpy as np
from cuda_emulation import emulated
from numba import cuda

import engine
from engine.kernels.cuda_support import emulate

SHARED_WORDS = 48 * 1024 // 4


class OneThread(emulate.Machine):
    """What intrinsics ask, answered for the thread that the simulator is running."""

    def __init__(self, memory):
        self.threads = np.full((1, 1), cuda.threadIdx.x)
        self.blocks = [np.full((1, 1), i) for i in (cuda.blockIdx.x, cuda.blockIdx.y,
                                                    cuda.blockIdx.z)]
        self.memory, self.words = memory, 0
        self.pool = cuda.shared.array(SHARED_WORDS, np.uint32)

    def barrier(self):
        cuda.syncthreads()

    def shared(self, dtype, count):
        first, self.words = self.words, self.words + count * np.dtype(dtype).itemsize // 4
        return Shared(self.pool[first : self.words], dtype)


class Shared:
    def __init__(self, words, dtype):
        self.values = np.asarray(words).view(dtype)

    def load(self, index):
        return self.values[np.asarray(index)]

    def store(self, index, value):
        index, value = np.broadcast_arrays(index, value)
        self.values[index] = value


class Device(emulate.Device):
    """Whose launches go through the simulator."""

    def launch(self, kernel, grid, args, stream):
        def simulated():
            OneThread(self.memory).run(kernel.function, *args)

        cuda.jit(simulated)[grid, kernel.threads]()
        self.launches[kernel.name] += 1


def main():
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((1, 2, 4, 5),
                                                                            (8, 2, 3, 3)))
    truth = naive.conv(x, weight, pads=((1, 1), (1, 1)))
    one, dy, small = x[:, :1], x[:, 1:, :3, :4], (1, 1, 2, 2)
    computed = {}
    with emulated(Device()) as device, engine.use_backend("cuda"):
        for algorithm in ("direct", "im2col"):
            y = engine.conv2d(x, weight, padding=1, algorithm=algorithm)
            computed[f"conv2d {algorithm}"] = np.array_equal(y, truth)
        dweight = engine.conv2d_backward_weight(dy, one, small, algorithm="direct")
        computed["conv2d_backward_weight direct"] = np.array_equal(
            dweight, naive.conv_backward_weight(dy, one, small))
        y, places = engine.max_pool2d(x, 2, return_indices=True)
        pooled = x[:, :, :4, :4].reshape(1, 2, 2, 2, 2, 2)
        computed["max_pool2d"] = np.array_equal(y, pooled.max(axis=(3, 5)))
        computed["max_pool2d indices"] = np.array_equal(
            np.take_along_axis(x.reshape(1, 2, 20), places.reshape(1, 2, 4), 2), y.reshape(1, 2, 4))
    print(json.dumps({"right": computed, "launches": device.launches}))


if __name__ == "__main__":
    main()
