"""The engine itself, through its public functions; its malloc is left as installed."""

from __future__ import annotations

import numpy as np

import engine
from bench.cases import CONV_OPS, Case, ceil_mode, in_order


def version() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return f"engine {installed('convengine')}"
    except PackageNotFoundError:
        return "engine (not installed)"


def start(threads: int) -> None:
    engine.set_num_threads(threads)


def prepare(case: Case, variant: str, inputs: dict[str, np.ndarray]):
    order = "nhwc" if variant == "nhwc" else "nchw"
    x, dy = in_order(inputs["x"], order), in_order(inputs["dy"], order)
    if case.op in CONV_OPS:
        return _convolution(case, variant, x, dy, inputs["weight"])
    return _pooling(case, x, dy)


def arrays(result) -> list[np.ndarray]:
    return list(result) if isinstance(result, tuple) else [result]


def ran() -> str:
    from engine import _plan

    run = _plan.last_run()
    return "/".join(filter(None, (run.backend, run.algorithm, run.isa))) if run else ""


def _convolution(case: Case, variant: str, x, dy, weight):
    p = case.problem
    geometry = {"stride": (p.stride_h, p.stride_w), "dilation": (p.dil_h, p.dil_w),
                "padding": ((p.pad_t, p.pad_b), (p.pad_l, p.pad_r)), "groups": p.g}
    if variant.startswith("plan"):
        return _planned(case, variant, x, weight, geometry)
    if case.op == "forward":
        return lambda: engine.conv2d(x, weight, **geometry)
    if case.op == "backward_data":
        return lambda: engine.conv2d_backward_data(dy, weight, p.x_shape, **geometry)
    return lambda: engine.conv2d_backward_weight(dy, x, p.weight_shape, **geometry)


def _planned(case: Case, variant: str, x, weight, geometry):
    if case.op != "forward":
        raise ValueError("plans are for the forward direction")
    if not hasattr(engine, "plan_conv2d"):
        raise ValueError("this engine has no plan_conv2d")
    plan = engine.plan_conv2d(case.problem.x_shape, weight, None, **geometry)
    if variant == "plan out":
        y = plan(x)
        return lambda: plan(x, out=y)
    return lambda: plan(x)


def _pooling(case: Case, x, dy):
    p = case.problem
    window = {"kernel_size": (p.kh, p.kw), "stride": (p.stride_h, p.stride_w),
              "padding": (p.pad_t, p.pad_l), "dilation": (p.dil_h, p.dil_w),
              "ceil_mode": ceil_mode(p)}
    if case.op == "max":
        return lambda: engine.max_pool2d(x, **window)
    if case.op == "max_index":
        return lambda: engine.max_pool2d(x, **window, return_indices=True)
    if case.op == "max_backward":
        indices = engine.max_pool2d(x, **window, return_indices=True)[1]
        return lambda: engine.max_pool2d_backward(dy, x, **window, indices=indices)
    if case.op == "avg":
        return lambda: engine.avg_pool2d(x, **window)
    return lambda: engine.avg_pool2d_backward(dy, x, **window)
