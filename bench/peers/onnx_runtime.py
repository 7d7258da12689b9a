"""ONNX Runtime: a model of one node.

Its weights are packed when the session is made, outside the timed call, as its users have it.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bench.cases import Case, ceil_mode, symmetric_padding

_threads = 1
_TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE,
          "float16": TensorProto.FLOAT16}


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


def start(threads: int) -> None:
    global _threads
    _threads = threads


def prepare(case: Case, variant: str, inputs: dict[str, np.ndarray]):
    if variant != "nchw":
        raise ValueError("ONNX knows one order of axes")
    if case.problem.dtype.name not in _TYPES:
        raise ValueError(f"no {case.problem.dtype.name} on the CPU")
    run = session(_model(case, inputs)).run
    feed = {"x": inputs["x"]}
    return lambda: run(None, feed)


def arrays(result) -> list[np.ndarray]:
    return result


def ran() -> str:
    return ""


def session(model) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options,
                                            providers=["CPUExecutionProvider"])
    except Exception as error:  # it raises classes of its own that share no useful base
        raise ValueError(str(error).splitlines()[0]) from None


def _model(case: Case, inputs: dict[str, np.ndarray]):
    p = case.problem
    top, left = symmetric_padding(p)
    window = {"kernel_shape": [p.kh, p.kw], "strides": [p.stride_h, p.stride_w],
              "pads": [top, left, top, left]}
    outputs, constants = ["y"], []
    if case.op == "forward":
        constants = [numpy_helper.from_array(inputs["weight"], "weight")]
        node = helper.make_node("Conv", ["x", "weight"], outputs, group=p.g,
                                dilations=[p.dil_h, p.dil_w], **window)
    elif case.op in ("max", "max_index"):
        if case.op == "max_index":  # its positions run over the whole batch, else they are ours
            raise ValueError("positions of maxima are numbered otherwise")
        node = helper.make_node("MaxPool", ["x"], outputs, ceil_mode=int(ceil_mode(p)),
                                dilations=[p.dil_h, p.dil_w], **window)
    elif case.op == "avg":
        node = helper.make_node("AveragePool", ["x"], outputs, ceil_mode=int(ceil_mode(p)),
                                count_include_pad=1, **window)
    else:
        raise ValueError("it only infers")
    kind = _TYPES[p.dtype.name]
    graph = helper.make_graph([node], "layer",
                              [helper.make_tensor_value_info("x", kind, p.x_shape)],
                              [helper.make_tensor_value_info("y", kind, p.y_shape)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
