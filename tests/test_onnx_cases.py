"""ONNX's own test cases of its convolution and pooling operators, run through engine.

The cases (inputs, attributes, expected outputs, tolerance) are those of the `onnx` package; this
file only translates attributes.
"""

import importlib

import numpy as np
import pytest

import engine

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

MODULES = ("conv", "convinteger", "convtranspose", "maxpool", "averagepool", "lppool",
           "globalmaxpool", "globalaveragepool", "maxunpool")
OTHER_RULES = {  # cases of which engine's documented rule differs
    "test_maxpool_with_argmax_2d_precomputed_strides": "indices in Fortran order (storage_order=1)",
    "test_maxunpool_export_with_output_shape":
        "indices into a plane that is not the output's (PyTorch's are into the output)",
}


def cases():
    node = importlib.import_module("onnx.backend.test.case.node")
    for name in MODULES:
        importlib.import_module(f"onnx.backend.test.case.node.{name}")
    return [pytest.param(*case.model.graph.node, case, id=case.name.removeprefix("test_"))
            for case in node._NodeTestCases
            if len(case.model.graph.node) == 1]  # else a case spelt out in other operators


def attributes(node):
    """The attributes of a node by name, strings decoded, with ONNX's defaults."""
    given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value
            for name, value in given.items()}


def padding(given, rank):
    """engine's `padding` for ONNX's auto_pad and pads."""
    named = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
    if given.get("auto_pad", "NOTSET") in named:
        return named[given["auto_pad"]]
    pads = given.get("pads", [0] * 2 * rank)
    return tuple(zip(pads[:rank], pads[rank:], strict=True))


def conv(name, given, x, weight, bias=None):
    rank = x.ndim - 2
    return operation(f"conv{rank}d")(
        x, weight, bias, stride=given.get("strides", [1] * rank), padding=padding(given, rank),
        dilation=given.get("dilations", [1] * rank), groups=given.get("group", 1))


def conv_integer(name, given, x, weight, x_zero=0, weight_zero=0):
    weight_zero = np.asarray(weight_zero, np.int32)
    weight_zero = weight_zero.reshape(weight_zero.shape + (1,) * 3 * weight_zero.ndim)
    return conv(name, given, x.astype(np.int32) - np.int32(x_zero),
                weight.astype(np.int32) - weight_zero)


def conv_transpose(name, given, x, weight, bias=None):
    rank = x.ndim - 2
    stride = given.get("strides", [1] * rank)
    dilation = given.get("dilations", [1] * rank)
    extra = list(given.get("output_padding", [0] * rank))
    pads = padding(given, rank)
    wanted = given.get("output_shape")
    if pads == "same":
        wanted = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
    if wanted:  # then ONNX derives the padding, more of it at the end
        full = [s * (n - 1) + d * (k - 1) + 1 for s, n, d, k in
                zip(stride, x.shape[2:], dilation, weight.shape[2:], strict=True)]
        extra = [max(0, out - size) for out, size in zip(wanted, full, strict=True)]
        over = [max(0, size - out) for out, size in zip(wanted, full, strict=True)]
        pads = tuple((each // 2, each - each // 2) for each in over)
    return operation(f"conv_transpose{rank}d")(
        x, weight, bias, stride=stride, padding=pads, output_padding=extra, dilation=dilation,
        groups=given.get("group", 1))


def pool(name, given, x):
    rank = x.ndim - 2
    options = {"kernel_size": given["kernel_shape"], "stride": given.get("strides", [1] * rank),
               "padding": padding(given, rank), "dilation": given.get("dilations", [1] * rank),
               "ceil_mode": bool(given.get("ceil_mode", 0))}
    if name == "AveragePool":
        options["count_include_pad"] = bool(given.get("count_include_pad", 0))
        return operation(f"avg_pool{rank}d")(x, **options)
    if name == "LpPool":
        return operation(f"lp_pool{rank}d")(x, p=given.get("p", 2), **options)
    return operation(f"max_pool{rank}d")(x, return_indices=True, **options)


def global_pool(name, given, x):
    kind = {"GlobalMaxPool": "max", "GlobalAveragePool": "avg"}[name]
    return operation(f"global_{kind}_pool{x.ndim - 2}d")(x)


def max_unpool(name, given, x, indices, output_shape=None):
    rank = x.ndim - 2
    size = None if output_shape is None else tuple(output_shape)[-rank:]
    return operation(f"max_unpool{rank}d")(x, indices, given["kernel_shape"],
                                           stride=given["strides"], output_size=size)


def operation(name):
    if not hasattr(engine, name):
        pytest.skip(f"there is no engine.{name}")
    return getattr(engine, name)


TRANSLATE = {"Conv": conv, "ConvInteger": conv_integer, "ConvTranspose": conv_transpose,
             "MaxPool": pool, "AveragePool": pool, "LpPool": pool, "GlobalMaxPool": global_pool,
             "GlobalAveragePool": global_pool, "MaxUnpool": max_unpool}


@pytest.mark.parametrize(("node", "case"), cases())
def test_case(node, case):
    if case.name in OTHER_RULES:
        pytest.skip(OTHER_RULES[case.name])
    for inputs, outputs in case.data_sets:
        results = TRANSLATE[node.op_type](node.op_type, attributes(node), *inputs)
        results = results if isinstance(results, tuple) else (results,)
        for actual, expected in zip(results, outputs, strict=False):
            assert actual.dtype == expected.dtype
            np.testing.assert_allclose(actual, expected, rtol=case.rtol, atol=case.atol)
