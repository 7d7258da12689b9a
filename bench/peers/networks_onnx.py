"""Networks by ONNX Runtime: what `engine.interop.onnx.export` writes."""

from __future__ import annotations

import numpy as np

from bench.networks import NetworkCase
from bench.peers.onnx_runtime import arrays, ran, session, start, version  # noqa: F401
from engine.interop.onnx import export


def prepare(case: NetworkCase, variant: str, inputs: dict[str, np.ndarray]):
    if case.training:
        raise ValueError("it only infers")
    run = session(export(case.model())).run
    feed = {"input": inputs["x"]}
    return lambda: run(None, feed)
