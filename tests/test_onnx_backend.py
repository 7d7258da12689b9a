"""ONNX's own backend tests, run through `engine.interop.onnx.Backend`.

A case that needs an operator which engine does not have is skipped with the operator's name; a case
of which engine's result differs is named in OTHER_RULES with the reason.  `pytest -rs` prints both.
"""

import importlib
import unittest
import warnings

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

import onnx.backend.test  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

engine_onnx = importlib.import_module("engine.interop.onnx")

OTHER_RULES = {f"test_training_dropout{case}": "expects one generator's random numbers"
               for case in ("", "_default", "_default_mask", "_mask")}



class Backend(engine_onnx.Backend):
    """Skips what engine does not have, where ONNX's runner would count a failure."""

    @classmethod
    def is_compatible(cls, model):
        return True

    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        missing = engine_onnx.unsupported(model)
        if missing:
            raise unittest.SkipTest(f"not there: {missing[0].partition(' (')[0]}")
        return super().prepare(model, device, **kwargs)


@pytest.fixture(autouse=True, scope="module")
def _downloads(tmp_path_factory):
    """The runner writes the inputs of the light networks below ONNX_HOME."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNX_HOME", str(tmp_path_factory.mktemp("onnx")))
        yield


with warnings.catch_warnings():  # of ONNX's own code, which computes the cases
    warnings.simplefilter("ignore", RuntimeWarning)
    suite = onnx.backend.test.BackendTest(Backend, __name__)
for title, case in suite.test_cases.items():
    for name in [each for each in dir(case) if each.startswith("test_")]:
        if name.endswith("_cuda"):  # Backend runs on the CPU alone
            delattr(case, name)
        elif name.removesuffix("_cpu") in OTHER_RULES:
            reason = OTHER_RULES[name.removesuffix("_cpu")]
            setattr(case, name, unittest.skip(reason)(getattr(case, name)))
    globals()[title] = case
del case

CORE = {"Conv", "ConvInteger", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "MaxUnpool",
        "GlobalMaxPool", "GlobalAveragePool", "BatchNormalization", "LRN", "Gemm", "MatMul",
        "Concat", "Add", "Sub", "Div", "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid",
        "Tanh", "Softmax", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Pad",
        "Constant", "Shape", "Gather", "Slice"}


def test_no_case_of_the_core_operators_is_left_out():
    cases = [each for each in collect_testcases(None)
             if {node.op_type for node in each.model.graph.node} <= CORE]
    assert len(cases) >= 190
    assert [each.name for each in cases if engine_onnx.unsupported(each.model)] == []
