"""The gradient of every ONNX operator against finite differences, on ONNX's own test cases."""

import warnings
from collections import defaultdict

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

from engine.interop import onnx as engine_onnx  # noqa: E402
from engine.interop.onnx.graph import Graph  # noqa: E402
from engine.interop.onnx.run import Run  # noqa: E402

H = 1e-6
PER_OPERATOR = 12  # cases, the first ones
NO_SLOPE = {  # whose outputs are steps, indices, shapes or random
    "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
    "BitwiseXor", "Ceil", "Constant", "ConstantOfShape", "ConvInteger", "DequantizeLinear",
    "DynamicQuantizeLinear", "Equal", "EyeLike", "Floor", "Greater", "GreaterOrEqual",
    "Hardmax", "IsInf", "IsNaN", "Less", "LessOrEqual", "MatMulInteger", "Mod",
    "NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "QLinearConv", "QLinearMatMul",
    "QuantizeLinear", "Range", "Round", "Shape", "Sign", "Size", "Xor",
}
NO_GRADIENT = "no gradient"  # what the refusals of Einsum and the scatters say
AT_A_KINK = {  # cases with inputs where there is no one slope
    "test_elu_example", "test_leakyrelu_example", "test_selu_example",
    "test_thresholdedrelu_example", "test_reduce_min_default_axes_keepdims_example",
    "test_l2normalization_axis_0",
}
STATISTICS = {"BatchNormalization", "LayerNormalization"}  # whose further outputs have no gradient


def cases_by_operator():
    with warnings.catch_warnings():  # of ONNX's own code, which computes the cases
        warnings.simplefilter("ignore", RuntimeWarning)
        cases = collect_testcases(None)
    found = defaultdict(list)
    for case in cases:
        node = case.model.graph.node[0]
        if len(case.model.graph.node) == 1 and node.op_type in engine_onnx.OPERATORS \
                and not engine_onnx.unsupported(case.model):
            inputs, _ = case.data_sets[0]
            if any(real(each) for each in inputs) and case.name not in AT_A_KINK:
                found[node.op_type].append(case)
    return found


def real(value):
    return isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float64) and value.size


CASES = cases_by_operator()


def run(graph, values, learned, **options):
    values = graph.constants | values
    return Run(graph.nodes, values, learned, **options), {
        name: values[name] for name in graph.outputs if real(values[name])}


@pytest.mark.parametrize("name", sorted(CASES.keys() - NO_SLOPE))
def test_gradients_are_the_slopes(name):
    checked = sum(check(case) for case in CASES[name][:PER_OPERATOR])
    assert checked, "no case of this operator has a gradient"


def check(case):
    """Whether the gradient along a random direction was compared, and found right."""
    graph = Graph(case.model)
    rng = np.random.default_rng(0)
    x = {name: value.astype(np.float64) if real(value) else value
         for name, value in zip(graph.inputs, case.data_sets[0][0], strict=True)}
    learned = [name for name, value in x.items() if real(value)]
    seed = np.random.default_rng(1)
    taped, y = run(graph, dict(x), learned, rng=seed)
    dy = {name: rng.standard_normal(value.shape) for name, value in y.items()
          if graph.nodes[0].op not in STATISTICS or name == graph.outputs[0]}
    if not taped.tape or not dy:
        return False
    try:
        gradients = taped.backward(dy, of_inputs=False)
    except NotImplementedError as error:
        assert NO_GRADIENT in str(error)
        return False
    direction = {name: rng.standard_normal(x[name].shape) for name in learned
                 if name in gradients}
    assert direction, f"{case.name}: no input has a gradient"
    for name in direction:
        assert gradients[name].shape == x[name].shape

    def value(step):
        moved = x | {name: x[name] + step * along for name, along in direction.items()}
        _, y = run(graph, moved, learned, rng=np.random.default_rng(1))
        return sum(float((y[name] * dy[name]).sum()) for name in dy)

    expected = (value(H) - value(-H)) / (2 * H)
    actual = sum(float((gradients[name] * along).sum()) for name, along in direction.items())
    if np.isfinite(expected):
        assert actual == pytest.approx(expected, rel=1e-5, abs=1e-6), case.name
    return np.isfinite(expected)
