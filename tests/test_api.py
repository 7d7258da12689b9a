"""The public names: what they are called, what importing them costs, what their examples say."""

import doctest
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

import engine
from engine import kernels

NAMES = set(engine.__all__)

CONV = ("stride=1, padding=0, dilation=1, groups=1, padding_mode='constant', {}layout='NCHW', "
        "{}algorithm=None, backend=None")
POOL = "stride=None, padding=0, dilation=1, ceil_mode=False, {}layout='NCHW', {}backend=None"
TRANSPOSED = ("stride=1, padding=0, output_padding=0, dilation=1, groups=1, {}layout='NCHW', "
              "{}algorithm=None, backend=None")
SIGNATURES = {
    "conv2d": "(x, weight, bias=None, *, " + CONV.format("activation=None, ", "out=None, ") + ")",
    "conv2d_backward": "(dy, x, weight, *, " + CONV.format("", "")
                       + ", wrt=('x', 'weight', 'bias'))",
    "conv2d_backward_data": "(dy, weight, x_shape, *, " + CONV.format("", "") + ")",
    "conv2d_backward_weight": "(dy, x, weight_shape, *, " + CONV.format("", "") + ")",
    "plan_conv2d": "(x_shape, weight, bias=None, *, " + CONV.format("activation=None, ", "")
                   + ", dtype=None)",
    "conv_transpose2d": "(x, weight, bias=None, *, "
                        + TRANSPOSED.format("activation=None, ", "out=None, ") + ")",
    "conv_transpose2d_backward": "(dy, x, weight, *, " + TRANSPOSED.format("", "")
                                 + ", wrt=('x', 'weight', 'bias'))",
    "avg_pool2d": "(x, kernel_size, *, " + POOL.format("count_include_pad=True, ", "out=None, ")
                  + ")",
    "avg_pool2d_backward": "(dy, x, kernel_size, *, " + POOL.format("count_include_pad=True, ", "")
                           + ")",
    "lp_pool2d": "(x, kernel_size, *, p=2, " + POOL.format("", "out=None, ") + ")",
    "lp_pool2d_backward": "(dy, x, kernel_size, *, p=2, " + POOL.format("", "") + ")",
}
for kind in ("max", "min"):
    SIGNATURES[f"{kind}_pool2d"] = ("(x, kernel_size, *, "
                                    + POOL.format("", "return_indices=False, out=None, ") + ")")
    SIGNATURES[f"{kind}_pool2d_backward"] = ("(dy, x, kernel_size, *, "
                                             + POOL.format("", "indices=None, ") + ")")


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    assert str(inspect.signature(getattr(engine, name))) == SIGNATURES[name]


def test_every_forward_has_its_backward():
    forwards = {name for name in NAMES if name.endswith(("conv2d", "pool2d", "transpose2d"))}
    forwards -= {"plan_conv2d"}
    assert len(forwards) == 13
    assert {f"{name}_backward" for name in forwards} <= NAMES


def test_global_pools_are_called_like_the_others():
    for kind in ("max", "min", "avg", "lp"):
        whole = inspect.signature(getattr(engine, f"global_{kind}_pool2d")).parameters
        window = inspect.signature(getattr(engine, f"{kind}_pool2d")).parameters
        assert set(whole) <= set(window)
        assert [name for name in window if name in whole] == list(whole)


@pytest.mark.parametrize("name", ["conv2d", "plan_conv2d", "max_unpool2d"])
def test_a_module_of_the_same_name_is_the_function(name):
    module = importlib.import_module(f"engine.{name}")
    assert inspect.ismodule(module)
    assert getattr(engine, name) is getattr(module, name)
    assert inspect.isfunction(getattr(engine, name))


# ---- backends ----------------------------------------------------------------------------------

def modules(op):
    found = {backend: kernels.load(op, backend) for backend in kernels.BACKENDS}
    return {backend: module for backend, module in found.items() if not isinstance(module, str)}


@pytest.mark.parametrize(("op", "functions"), [
    ("conv2d", ("refusal", "forward", "backward_data", "backward_weight", "backward_bias")),
    ("pool2d", ("refusal", "forward", "backward")),
    ("unpool2d", ("refusal", "forward", "backward"))])
def test_backends_share_one_contract(op, functions):
    contract = modules(op)["numpy"]
    for backend, module in modules(op).items():
        for name in functions:
            expected = list(inspect.signature(getattr(contract, name)).parameters)
            actual = list(inspect.signature(getattr(module, name)).parameters)
            assert actual == expected, f"{backend}: {op} {name}"
        if op == "conv2d":
            assert module.ALGORITHMS and set(module.ALGORITHMS) <= {"direct", "im2col", "winograd"}


def test_numpy_refuses_nothing():
    """It is the last candidate, so something has to run."""
    for op in ("conv2d", "pool2d", "unpool2d"):
        assert "numpy" in modules(op)
    assert kernels.BACKENDS[-1] == "numpy"


# ---- import ------------------------------------------------------------------------------------

IMPORT = """
import json, sys
import numpy
before = set(sys.modules)
import engine
print(json.dumps(sorted(set(sys.modules) - before)))
"""
EXTRAS = {"numba", "llvmlite", "click", "rich", "matplotlib", "PIL", "sklearn", "scipy", "torch",
          "onnx", "onnxruntime", "safetensors", "ml_dtypes"}


def imported(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_is_light():
    """Neither Numba nor any extra is imported, nor a kernel, and few modules besides engine's."""
    new = imported(IMPORT)
    assert not EXTRAS & {name.partition(".")[0] for name in new}
    assert "importlib.metadata" not in new
    assert not [name for name in new if name.startswith(("engine.kernels.", "engine.nn"))]
    assert len([name for name in new if not name.startswith("engine")]) < 30


def test_numba_is_imported_only_to_run():
    """A call that another backend carries out leaves Numba alone."""
    call = IMPORT.replace("print", """
with engine.use_backend("numpy"):
    engine.conv2d(numpy.ones((3, 3)), numpy.ones((2, 2)))
    engine.max_pool2d(numpy.ones((4, 4)), 2)
print""")
    assert "numba" not in imported(call)


# ---- documentation -----------------------------------------------------------------------------

@pytest.mark.parametrize("name", sorted(NAMES))
def test_docstring(name):
    """A summary line, and an example that runs."""
    function = inspect.unwrap(getattr(engine, name))
    text = inspect.getdoc(function)
    assert text and text.splitlines()[0].endswith((".", ":"))
    examples = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert examples and examples[0].examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(examples[0]).failed == 0


def test_every_module_says_what_it_is():
    for module in pkgutil.iter_modules(engine.__path__, "engine."):
        if module.name != "engine._native":
            with open(importlib.util.find_spec(module.name).origin.replace(".pyc", ".py")) as file:
                assert file.read().startswith(('"""', '#!')), module.name
