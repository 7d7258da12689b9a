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

LAYOUTS = {1: "NCL", 2: "NCHW", 3: "NCDHW"}
STEPS = "stride=1, padding=0, {}dilation=1, groups=1"
ASKED = "algorithm=None, backend=None, precision=None"
WRT = "wrt=('x', 'weight', 'bias')"
POOL = "stride=None, padding=0, dilation=1, ceil_mode=False"


def signatures(rank):
    layout = f"layout='{LAYOUTS[rank]}'"
    conv = f"{STEPS.format('')}, padding_mode='constant', {{}}{layout}, {{}}{ASKED}"
    plain = conv.format("", "")
    transposed = f"{STEPS.format('output_padding=0, ')}, {{}}{layout}, {{}}{ASKED}"
    pool = f"{POOL}, {{}}{layout}, {{}}backend=None"
    name, after = f"conv{rank}d", f"conv_transpose{rank}d"
    found = {
        name: f"(x, weight, bias=None, *, {conv.format('activation=None, ', 'out=None, ')})",
        f"{name}_backward": f"(dy, x, weight, *, {plain}, {WRT})",
        f"{name}_backward_data": f"(dy, weight, x_shape, *, {plain})",
        f"{name}_backward_weight": f"(dy, x, weight_shape, *, {plain})",
        after: f"(x, weight, bias=None, *, {transposed.format('activation=None, ', 'out=None, ')})",
        f"{after}_backward": f"(dy, x, weight, *, {transposed.format('', '')}, {WRT})",
        f"{after}_backward_data": f"(dy, weight, x_shape, *, {transposed.format('', '')})",
        f"{after}_backward_weight": f"(dy, x, weight_shape, *, {transposed.format('', '')})",
        f"avg_pool{rank}d":
            f"(x, kernel_size, *, {pool.format('count_include_pad=True, ', 'out=None, ')})",
        f"avg_pool{rank}d_backward":
            f"(dy, x, kernel_size, *, {pool.format('count_include_pad=True, ', '')})",
        f"lp_pool{rank}d": f"(x, kernel_size, *, p=2, {pool.format('', 'out=None, ')})",
        f"lp_pool{rank}d_backward": f"(dy, x, kernel_size, *, p=2, {pool.format('', '')})",
        f"adaptive_max_pool{rank}d":
            f"(x, output_size, *, {layout}, return_indices=False, out=None, backend=None)",
        f"max_unpool{rank}d": "(x, indices, kernel_size, *, stride=None, padding=0, "
                              f"output_size=None, {layout}, out=None, backend=None)",
    }
    for kind in ("max", "min"):
        found[f"{kind}_pool{rank}d"] = (
            f"(x, kernel_size, *, {pool.format('', 'return_indices=False, out=None, ')})")
        found[f"{kind}_pool{rank}d_backward"] = (
            f"(dy, x, kernel_size, *, {pool.format('', 'indices=None, ')})")
        found[f"global_{kind}_pool{rank}d"] = (
            f"(x, *, {layout}, return_indices=False, out=None, backend=None)")
    if rank == 2:
        host = conv.format("activation=None, ", "").removesuffix(", precision=None")
        found[f"plan_{name}"] = f"(x_shape, weight, bias=None, *, {host}, dtype=None)"
    return found


SIGNATURES = signatures(1) | signatures(2) | signatures(3) | {
    "bind_pool2d": "(op, x, *args, out, **kwargs)", "bind_softmax": "(x, out)",
    "chain": "(calls)"}


def signature(name):
    """Names, order and defaults; what test_typing.py says of the types is left out."""
    whole = inspect.signature(getattr(engine, name))
    names = [each.replace(annotation=each.empty) for each in whole.parameters.values()]
    return str(whole.replace(parameters=names, return_annotation=whole.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    assert signature(name) == SIGNATURES[name]


@pytest.mark.parametrize("rank", LAYOUTS)
def test_every_forward_has_its_backward(rank):
    forwards = {name for name in NAMES if name.endswith(f"{rank}d")}
    forwards -= {f"plan_conv{rank}d", f"bind_pool{rank}d"}
    assert len(forwards) == 13
    assert {f"{name}_backward" for name in forwards} <= NAMES
    for name in (f"conv{rank}d", f"conv_transpose{rank}d"):
        assert {f"{name}_backward_data", f"{name}_backward_weight"} <= NAMES


@pytest.mark.parametrize("rank", LAYOUTS)
def test_global_pools_are_called_like_the_others(rank):
    for kind in ("max", "min", "avg", "lp"):
        whole = inspect.signature(getattr(engine, f"global_{kind}_pool{rank}d")).parameters
        window = inspect.signature(getattr(engine, f"{kind}_pool{rank}d")).parameters
        assert set(whole) <= set(window)
        assert [name for name in window if name in whole] == list(whole)


def test_functions_differ_in_their_layout_alone():
    """What is not spelt out above: 1-D, 2-D and 3-D functions are called alike."""
    for name in NAMES:
        if "2d" in name and not name.startswith(("plan", "bind")):
            text = signature(name)
            for rank in (1, 3):
                other = signature(name.replace("2d", f"{rank}d"))
                assert other.replace(LAYOUTS[rank], "NCHW") == text


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv3d", "plan_conv2d", "max_unpool1d",
                                  "max_unpool2d", "max_unpool3d"])
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
    ("conv3d", ("refusal", "forward", "backward_data", "backward_weight", "backward_bias")),
    ("pool2d", ("refusal", "forward", "backward")),
    ("pool3d", ("refusal", "forward", "backward")),
    ("unpool2d", ("refusal", "forward", "backward")),
    ("norm", ("refusal", "moments", "forward", "backward_weight", "backward_data",
              "channel_sums")),
    ("relu", ("refusal", "backward"))])
def test_backends_share_one_contract(op, functions):
    contract = modules(op)["numpy"]
    for backend, module in modules(op).items():
        for name in functions:
            expected = list(inspect.signature(getattr(contract, name)).parameters)
            actual = list(inspect.signature(getattr(module, name)).parameters)
            assert actual == expected, f"{backend}: {op} {name}"
        if op.startswith("conv"):
            assert module.ALGORITHMS
            assert set(module.ALGORITHMS) <= {"direct", "im2col", "winograd", "bf16x6"}


def test_numpy_refuses_nothing():
    """It is the last candidate, so something has to run."""
    for op in ("conv2d", "conv3d", "pool2d", "pool3d", "unpool2d", "norm", "relu"):
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
