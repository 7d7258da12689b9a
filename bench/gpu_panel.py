"""The public panel on a GPU: engine on torch's tensors beside cuDNN, layer by layer.

A case is captured in a CUDA graph, so what is timed is what the GPU does; before every replay a
buffer larger than the L2 cache is written.  Times are medians, by CUDA events.
"""

from __future__ import annotations

import statistics
import time

import torch
import torch.nn.functional as F

import engine
from bench.cases import Case, cases, symmetric_padding
from bench.layers import load

SAMPLES = 15
FLUSH_BYTES = 256 << 20
ORDERS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
# kind: dtype of the tensors, precision of engine, whether cuDNN may use TF32, ceiling
KINDS = {"fp32": (torch.float32, "fp32", False, "fp32"),
         "fp32x3": (torch.float32, "fp32x3", False, "tf32"),
         "tf32": (torch.float32, "tf32", True, "tf32"),
         "bf16": (torch.bfloat16, None, True, "bf16")}
DIRECTIONS = ("forward", "backward_data", "backward_weight")
LEAST_SECONDS = 40  # left for what comes after the panel
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
        size = 8192
        a, b = (torch.randn(size, size, device=DEVICE, dtype=dtype) for _ in range(2))
        found[kind] = 2 * size**3 / timer(lambda a=a, b=b: a @ b)
    torch.backends.cuda.matmul.allow_tf32 = False
    source = torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE)
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
            for _ in range(100):
                call()
            best = min(best, (time.perf_counter() - start) / 100)
        found[name] = round(1e6 * best, 2)
    return found


# ---- the panel ---------------------------------------------------------------------------------

def panel(report, batch: int, only: str) -> list[dict]:
    """A row for every layer, direction and kind that there is time for."""
    torch.backends.cudnn.benchmark = True
    timer, rows = Timer(), []
    layers = load("panel", only=only)
    ceiling = report.kept.get("ceilings", {})
    todo = [(case, kind) for kind in KINDS
            for case in cases(layers, ["forward"], [batch], "float32")]
    todo += [(case, "pool") for case in cases(layers, ["max", "avg"], [batch], "float32")]
    todo += [(case, kind) for kind in ("fp32", "bf16")
             for case in cases(layers, DIRECTIONS[1:], [batch], "float32")]
    for case, kind in todo:
        if report.seconds_left < LEAST_SECONDS:
            break
        about = {"layer": case.layer, "direction": case.op, "kind": kind,
                 "problem": str(case.problem)}
        try:
            row = pool_row(case, timer) if kind == "pool" else conv_row(case, kind, timer)
            about |= row
            about["share"] = share(case, kind, row["engine"], ceiling)
        except Exception as error:  # one layer must not end the run
            about["failed"] = f"{type(error).__name__}: {error}"[:200]
            torch.cuda.empty_cache()
        rows.append(about)
        report.kept["panel"] = rows
        report.save()
    return rows


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
    x, weight, dy = (each.double() for each in given)
    if case.op == "backward_weight":
        return cudnn_call(case, x, weight, dy)()
    return cudnn_call(case, x[:1], weight, dy[:1])()


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
