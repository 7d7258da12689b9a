"""``python -m bench gpu`` and the tests marked ``gpu`` without a GPU; run by `test_bench_gpu`.

The CUDA driver is `cuda_driver`, torch's tensors are those of the host, its streams, events and
graphs are stand-ins with the documented names and arguments.  All else is what a GPU would run.
"""

import contextlib
import functools
import itertools
import json
import sys
import types
from pathlib import Path

import cuda_driver
import pytest
import torch
from cuda_emulation import torch_on

from bench import gpu, gpu_compile, gpu_panel
from bench.layers import Layer
from engine.kernels import conv2d_cuda
from engine.kernels.cuda_support.toolchain import driver as driver_module

LAYERS = [Layer("conv", "g1ic8oc8ih6oh6kh3sh1dh0ph1"), Layer("pool", "mb2ic4ih8kh2sh2ph0")]


class Stream:
    numbers = itertools.count(100)
    current = []

    def __init__(self, device=None, priority=0):
        self.cuda_stream = next(self.numbers)

    def wait_stream(self, stream):
        assert isinstance(stream, Stream)


class Event:
    now = 0.0

    def __init__(self, enable_timing=False):
        assert enable_timing

    def record(self, stream=None):
        Event.now += 1
        self.at = Event.now

    def elapsed_time(self, end_event):
        assert end_event.at > self.at
        return end_event.at - self.at


def stand_ins(patch, driver):
    """For what torch does only with a GPU."""
    class CUDAGraph:
        def replay(self):
            for work in self.launches:
                driver.run(*work)

    @contextlib.contextmanager
    def graph(cuda_graph, pool=None, stream=None, capture_error_mode="global"):
        with driver.recording() as launches:
            yield
        cuda_graph.launches = launches

    @contextlib.contextmanager
    def stream(stream):
        Stream.current.append(stream)
        yield
        Stream.current.pop()

    main = Stream()
    about = types.SimpleNamespace(name="NVIDIA Stand-in", multi_processor_count=132,
                                  total_memory=1 << 36)
    for name, value in {
            "Stream": Stream, "Event": Event, "CUDAGraph": CUDAGraph, "graph": graph,
            "stream": stream, "is_available": lambda: True, "synchronize": lambda device=None: None,
            "empty_cache": lambda: None, "_sleep": lambda cycles: None,
            "get_device_properties": lambda device: about,
            "current_stream": lambda device=None: (Stream.current or [main])[-1]}.items():
        patch.setattr(torch.cuda, name, value)
    patch.setattr(torch.Tensor, "cuda", lambda self: self)
    patch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    patch.setattr(conv2d_cuda, "_LEAST_BLOCKS", 1)


def staged(args, seconds):
    """`gpu_process.said` in this process."""
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_panel, "tell", told.append)
        gpu_panel.run(args)
    yield from told


def small(patch):
    """Sizes for an emulator."""
    for name, value in {"DEVICE": "cpu", "FLUSH_BYTES": 1 << 10, "MATRIX": 8, "COPIED": 1 << 10,
                        "SAMPLES": 3, "load": lambda *files, only: LAYERS, "CALLS": 2,
                        "NETWORKS": {"lenet5": (1, 28, 28)}}.items():
        patch.setattr(gpu_panel, name, value)
    patch.setitem(gpu_panel.STAGES, "training", functools.partial(gpu_panel.training, 4, 2))
    patch.setattr(gpu, "said", staged)
    patch.setattr(gpu_compile, "beforehand", functools.partial(gpu_compile.beforehand, count=1))


def main(folder):
    with (cuda_driver.loaded(Path(folder)) as driver, torch_on(driver.memory) as patch):
        stand_ins(patch, driver)
        missing = driver_module.missing()
        # the hypothesis tests of that file are those of test_cuda, which the emulator runs
        status = pytest.main(["-q", "-p", "no:cacheprovider", "-W", "ignore",
                              str(Path(__file__).with_name("test_cuda_gpu.py")), "-k",
                              "every_template or tensors or stream or captured"])
        small(patch)
        gpu.gpu.main(["--minutes", "3", "--batch", "2", "--results", folder],
                     standalone_mode=False)
        if driver.error:
            raise driver.error
    launched = sorted({name.split("_float")[0] for name in driver.launches})
    print("@" + json.dumps({"missing": missing, "tests": int(status), "launched": launched,
                            "streams": len(driver.streams)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
