"""The public panel on a GPU: engine on torch's tensors beside cuDNN, layer by layer.

A case is captured in a CUDA graph, so what is timed is what the GPU does; before every replay a
buffer larger than the L2 cache is written.  Times are medians, by CUDA events.

``python -m bench.gpu_panel STAGE`` is what `bench gpu` starts for each of its stages.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

import engine
from bench.cases import Case, cases, symmetric_padding
from bench.gpu_process import tell
from bench.layers import load
from engine import _library

SAMPLES = 15
FLUSH_BYTES = 256 << 20
ORDERS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
# kind: dtype of the tensors, precision of engine, whether cuDNN may use TF32, ceiling
KINDS = {"fp32": (torch.float32, "fp32", False, "fp32"),
         "fp32x3": (torch.float32, "fp32x3", False, "tf32"),
         "tf32": (torch.float32, "tf32", True, "tf32"),
         "bf16": (torch.bfloat16, None, True, "bf16")}
DIRECTIONS = ("forward", "backward_data", "backward_weight")
MATRIX, COPIED = 8192, 1 << 30  # of the ceilings: rows and columns, bytes
CALLS = 100  # that are timed together, of a small one
NETWORKS = {"lenet5": (1, 28, 28), "resnet_cifar": (3, 32, 32)}  # to be trained
DEVICE = "cuda"


def describe() -> dict:
    """The GPU and the versions."""
    about = torch.cuda.get_device_properties(0)
    return {"name": about.name, "sms": about.multi_processor_count, "memory": about.total_memory,
            "torch": torch.__version__, "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version()}


# ---- time --------------------------------------------------------------------------------------

class Timer:
    """Seconds that the GPU takes for a call."""

    def __init__(self):
        self.flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=DEVICE)

    def __call__(self, call) -> float:
        replay = self._captured(call)
        spent = []
        for _ in range(SAMPLES):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self.flush.zero_()
            start.record()
            replay()
            end.record()
            spent.append((start, end))
        torch.cuda.synchronize()
        return statistics.median(1e-3 * start.elapsed_time(end) for start, end in spent)

    @staticmethod
    def _captured(call):
        """What repeats it, as a graph if it can be one."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                call()
        except RuntimeError:
            torch.cuda.synchronize()
            return call
        return graph.replay


# ---- what the machine can do -------------------------------------------------------------------

def ceilings() -> dict:
    """Measured: products of large matrices, in flop/s, and copies, in bytes/s."""
    timer, found = Timer(), {}
    for kind, dtype, tf32 in (("fp32", torch.float32, False), ("tf32", torch.float32, True),
                              ("bf16", torch.bfloat16, True)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(MATRIX, MATRIX, device=DEVICE, dtype=dtype) for _ in range(2))
        found[kind] = 2 * MATRIX**3 / timer(lambda a=a, b=b: a @ b)
    torch.backends.cuda.matmul.allow_tf32 = False
    source = torch.empty(COPIED, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    found["copy"] = 2 * source.numel() / timer(lambda: target.copy_(source))
    return found


def overhead() -> dict:
    """Microseconds of Python for a small call, forward, while the GPU keeps up."""
    x = torch.randn(1, 1, 28, 28, device=DEVICE)
    weight = torch.randn(6, 1, 5, 5, device=DEVICE)
    calls = {"engine.conv2d": lambda: engine.conv2d(x, weight, padding=2),
             "engine.max_pool2d": lambda: engine.max_pool2d(x, 2),
             "torch conv2d": lambda: F.conv2d(x, weight, padding=2)}
    found = {}
    for name, call in calls.items():
        call()
        best = float("inf")
        for _ in range(20):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            best = min(best, (time.perf_counter() - start) / CALLS)
        found[name] = round(1e6 * best, 2)
    return found


# ---- the panel ---------------------------------------------------------------------------------

def panel(batch: int, only: str, first: int, seconds: float, ceilings: dict) -> None:
    """Tell a row for every layer, direction and kind from number `first` on, while there is time.

    After an error of CUDA nothing works in this process any more: the next case needs another.
    """
    end = time.monotonic() + seconds
    torch.backends.cudnn.benchmark = True
    timer = Timer()
    for case, kind in itertools.islice(_todo(batch, only), first, None):
        if time.monotonic() > end:
            break
        about = {"layer": case.layer, "direction": case.op, "kind": kind,
                 "problem": str(case.problem)}
        try:
            about |= pool_row(case, timer) if kind == "pool" else conv_row(case, kind, timer)
            about["share"] = share(case, kind, about["engine"], ceilings)
        except Exception as error:  # one layer must not end the run
            about["failed"] = f"{type(error).__name__}: {error}"[:200]
            if not _is_well():
                tell(about | {"last words": True})
                raise
        tell(about)


def _todo(batch: int, only: str):
    """Cases and kinds, the most telling first."""
    layers = load("panel", only=only)
    for kind in KINDS:
        yield from ((case, kind) for case in cases(layers, ["forward"], [batch], "float32"))
    yield from ((case, "pool") for case in cases(layers, ["max", "avg"], [batch], "float32"))
    for kind in ("fp32", "bf16"):
        yield from ((case, kind) for case in cases(layers, DIRECTIONS[1:], [batch], "float32"))


def _is_well() -> bool:
    """Whether the GPU still answers this process."""
    try:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True


def share(case: Case, kind: str, seconds: float, ceiling: dict) -> float:
    """Of what the machine can do: of its products or of its copies, whichever is the limit."""
    floor = sum(case.traffic) / ceiling.get("copy", float("inf"))
    if kind in KINDS:
        dtype, _, _, product = KINDS[kind]
        floor *= torch.finfo(dtype).bits / 32
        work = case.flops * (3 if kind == "fp32x3" else 1)
        floor = max(floor, work / ceiling.get(product, float("inf")))
    return floor / seconds


def conv_row(case: Case, kind: str, timer: Timer) -> dict:
    """Times of both, each in its better memory order, and how far engine's result is off."""
    dtype, precision, tf32, _ = KINDS[kind]
    torch.backends.cudnn.allow_tf32 = tf32
    p = case.problem
    generator = torch.Generator(DEVICE).manual_seed(0)
    x, weight, dy = (torch.randn(shape, device=DEVICE, generator=generator).to(dtype)
                     for shape in (p.x_shape, p.weight_shape, p.y_shape))
    times = {"engine": {}, "peer": {}}
    error = 0.0
    for order, memory_format in ORDERS.items():
        given = [each.contiguous(memory_format=memory_format) for each in (x, weight, dy)]
        ours, theirs = engine_call(case, precision, *given), cudnn_call(case, *given)
        error = max(error, difference(ours(), exact(case, given)))
        times["engine"][order], times["peer"][order] = timer(ours), timer(theirs)
    best = {name: min(each.values()) for name, each in times.items()}
    return {**best, "ratio": best["peer"] / best["engine"], "error": error, "orders": times}


def engine_call(case: Case, precision, x, weight, dy):
    p = case.problem
    options = {"stride": (p.stride_h, p.stride_w), "padding": symmetric_padding(p),
               "dilation": (p.dil_h, p.dil_w), "groups": p.g, "precision": precision}
    if case.op == "forward":
        return lambda: engine.conv2d(x, weight, **options)
    if case.op == "backward_data":
        return lambda: engine.conv2d_backward_data(dy, weight, tuple(x.shape), **options)
    return lambda: engine.conv2d_backward_weight(dy, x, tuple(weight.shape), **options)


def cudnn_call(case: Case, x, weight, dy):
    from bench.peers import pytorch

    return pytorch._convolution(case, x, dy, weight)


def exact(case: Case, given):
    """One image's result in float64, for the two that look at images one by one."""
    x, weight, dy = given
    if case.op != "backward_weight":
        x, dy = x[:1], dy[:1]
    torch.backends.cudnn.benchmark = False  # which would try algorithms for what runs once
    try:
        return cudnn_call(case, x.double(), weight.double(), dy.double())()
    finally:
        torch.backends.cudnn.benchmark = True


def difference(result, truth) -> float:
    """The largest error over the largest result."""
    result = result[: len(truth)].double()
    return float((result - truth).abs().max() / truth.abs().max())


def pool_row(case: Case, timer: Timer) -> dict:
    """As `conv_row`, for a pooling."""
    from bench.peers import pytorch

    p = case.problem
    x = torch.randn(p.x_shape, device=DEVICE)
    dy = torch.randn(p.y_shape, device=DEVICE)
    options = {"stride": (p.stride_h, p.stride_w), "padding": symmetric_padding(p)}
    function = getattr(engine, f"{p.kind}_pool2d")
    times = {"engine": {}, "peer": {}}
    error = 0.0
    for order, memory_format in ORDERS.items():
        given = x.contiguous(memory_format=memory_format)

        def ours(given=given):
            return function(given, (p.kh, p.kw), **options)

        theirs = pytorch._pooling(case, given, dy.contiguous(memory_format=memory_format))
        error = max(error, difference(ours(), theirs().double()))
        times["engine"][order], times["peer"][order] = timer(ours), timer(theirs)
    best = {name: min(each.values()) for name, each in times.items()}
    return {**best, "ratio": best["peer"] / best["engine"], "error": error, "orders": times}


# ---- training ----------------------------------------------------------------------------------

def training(images: int = 256, batch: int = 64) -> dict:
    """Two epochs of each network of engine.nn on noise, on the GPU and on the host."""
    return {name: _trained(name, shape, images, batch) for name, shape in NETWORKS.items()}


def _trained(name, shape, images, batch) -> dict:
    import numpy as np

    from engine.nn import models

    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, *shape)).astype(np.float32)
    labels = rng.integers(0, 10, images)
    found = {}
    for device in ("cuda", "cpu"):
        if device == "cpu" and _library.lib is None:  # Numba would compile for minutes
            found[device] = "left out: the C kernels were not built"
            continue
        model, seconds = getattr(models, name)(seed=0).to(device), []
        for _ in range(2):  # the first compiles kernels
            start = time.monotonic()
            history = model.fit(x, labels, batch_size=batch, progress=False)
            seconds.append(round(time.monotonic() - start, 2))
        found[device] = {"loss": history["loss"], "seconds": seconds}
    return found


STAGES = {"machine": describe, "ceilings": ceilings, "overhead": overhead, "training": training}


def run(args: list[str]) -> None:
    name, *options = args
    if name == "panel":
        panel(**json.loads(options[0]))
    else:
        tell(STAGES[name]())


if __name__ == "__main__":
    run(sys.argv[1:])
