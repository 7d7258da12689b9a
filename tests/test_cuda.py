"""CUDA kernels without a GPU: their sources in the emulator, against the loop nests of naive.py."""

from dataclasses import replace

import hypothesis
import naive
import numpy as np
import pytest
import test_conv2d
import test_pool2d
from cuda_emulation import Array, emulated, host
from hypothesis import given, settings
from strategies import ConvCase, conv2d_cases, pool2d_cases
from tolerance import assert_close, assert_equal
from variants import Variant

import engine
from engine import _plan
from engine._problem import PRECISIONS, Conv2dProblem
from engine.kernels import conv2d_cuda
from engine.kernels.cuda_support import emulate, gemm, gemm_weight, sums
from engine.kernels.cuda_support.kernel import ADDRESS, I32, Kernel

DIRECTIONS = ("forward", "backward_data", "backward_weight")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def device():
    with emulated() as device:
        yield device


# ---- NumPy arrays, copied to the device ----------------------------------------------------------

@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("algorithm", conv2d_cuda.ALGORITHMS)
@settings(max_examples=20)
@given(case=conv2d_cases())
def test_convolution(device, algorithm, direction, case):
    if (algorithm, direction) == ("direct", "backward_weight"):
        hypothesis.assume(np.prod(case.problem.weight_shape) <= 1000)  # a block for each
    test_conv2d.check(case, Variant("cuda", algorithm, None), direction)


@pytest.mark.parametrize("text", [
    "g6ic6oc6ih9iw11oh9ow11kh3ph1", "g3ic3oc6ih12oh6kh3sh2ph1", "g5ic5oc5ih10oh8kh5dh0ph1",
    "g4ic4oc4ih12oh6kh3dh2ph0"])
@pytest.mark.parametrize("view", ["nchw", "nhwc"])
def test_depthwise(device, text, view):
    """Four neighbours a thread, in both directions; the bits are those of a sum per result."""
    problem = Conv2dProblem.parse(f"mb2{text}", order=view, bias=True, activation="relu")
    case = ConvCase(problem, 1, (view, "nchw", view, "none"), False)
    device.launches.clear()
    for direction in ("forward", "backward_data"):
        test_conv2d.check(case, Variant("cuda", "direct", None), direction)
    assert any(name.startswith("depthwise_") for name in device.launches)
    x, weight = case.array("x", case.shape("x")), case.array("weight", case.shape("weight"))
    four = engine.conv2d(x, weight, **case.geometry, backend="cuda", algorithm="direct")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conv2d_cuda, "_is_depthwise", lambda p, channels: False)
        assert_equal(engine.conv2d(x, weight, **case.geometry, backend="cuda",
                                   algorithm="direct"), four)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@settings(max_examples=40)
@given(case=pool2d_cases())
def test_pooling(device, direction, case):
    test_pool2d.check(case, Variant("cuda", None, None), direction)


@pytest.mark.parametrize("text", [
    "max_pool2d:f32:nchw:mb2ic3ih7iw5oh3ow4kh3kw3sh3dh0ph0bh0:adaptive",
    "avg_pool2d:f64:nhwc:mb1ic5ih6iw8oh4ow3kh3kw3sh3dh0ph0bh0:adaptive"])
def test_adaptive_pooling(device, text):
    case = test_pool2d.PoolCase.parse(f"{text} seed=0 views=nchw,nchw,nchw,none exact")
    for direction in ("forward", "backward"):
        test_pool2d.check(case, Variant("cuda", None, None), direction)


# ---- arrays that are on the device ---------------------------------------------------------------

@pytest.mark.parametrize("direction", DIRECTIONS)
@settings(max_examples=15)
@given(case=conv2d_cases(dtypes=("float32", "float64", "float16", "int32")))
def test_strides_of_arrays(device, direction, case):
    """Read where they lie, whatever their strides; what is computed has the same bits."""
    p, shapes = case.problem, {"x": case.shape("x"), "y": case.shape("y"),
                               "weight": case.shape("weight")}
    roles = {"forward": ("x", "weight"), "backward_data": ("y", "weight"),
             "backward_weight": ("y", "x")}[direction]
    extra = {"forward": (), "backward_data": (shapes["x"],),
             "backward_weight": (shapes["weight"],)}[direction]
    function = getattr(engine, "conv2d" if direction == "forward" else f"conv2d_{direction}")
    values = [case.array(role, shapes[role]) for role in roles]
    if any(not each.flags.aligned or not each.dtype.isnative for each in values):
        with pytest.raises((TypeError, ValueError), match="not cast|not aligned"):
            function(*(Array(each, device) for each in values), *extra, **case.geometry)
        return
    there = function(*(Array(each, device) for each in values), *extra, **case.geometry)
    if p.n:
        assert _plan.last_run().backend == "cuda"
    copied = function(*values, *extra, **case.geometry, backend="cuda")
    assert host(there).dtype == p.dtype
    assert_equal(host(there), copied)
    test_conv2d.assert_same_order(host(there), values[0] if direction != "backward_weight"
                                  else host(there))


def test_a_call_launches_its_kernels_once(device):
    x, weight = RNG.standard_normal((2, 8, 9, 9)), RNG.standard_normal((16, 8, 3, 3))
    x, weight = Array(x.astype(np.float32), device), Array(weight.astype(np.float32), device)
    engine.conv2d(x, weight)
    device.launches.clear()
    uploads = len(device.kept)
    engine.conv2d(x, weight, activation="tanh")
    assert sorted(device.launches.items()) == [
        ("gather_gemm_float32_fp32_64x64_nchw_tanh", 1), ("pack_weights_float32_fp32", 1)]
    engine.conv2d(x, weight)
    assert len(device.kept) == uploads  # tables stay where they are


def test_out_of_device_arrays(device):
    x, weight = (RNG.integers(-4, 5, shape).astype(np.float32) for shape in ((1, 2, 6, 6),
                                                                            (3, 2, 3, 3)))
    y = np.zeros((1, 3, 4, 4), np.float32)
    out = Array(y, device)
    assert engine.conv2d(Array(x, device), Array(weight, device), out=out) is out
    assert_equal(y, naive.conv(x, weight))
    with pytest.raises(ValueError, match="conv2d: `out` overlaps `x`, expected memory of its own"):
        engine.conv2d(Array(x, device), Array(weight[:2, :, :1, :1], device),
                      out=Array(x, device))


def test_transposed_with_bias_and_activation(device):
    x, weight = (RNG.integers(-4, 5, shape).astype(np.float32) for shape in ((2, 6, 5, 4),
                                                                            (6, 4, 3, 3)))
    bias = np.arange(8, dtype=np.float32)
    options = {"groups": 2, "stride": 2, "padding": 1, "output_padding": 1}
    there = engine.conv_transpose2d(*(Array(each, device) for each in (x, weight, bias)),
                                    activation="relu6", **options)
    truth = naive.conv_transpose(x, weight, bias, groups=2, stride=(2, 2), padding=(1, 1),
                                 output_padding=(1, 1))
    assert_equal(host(there), np.clip(truth, 0, 6))
    gradients = engine.conv_transpose2d_backward(
        *(Array(each, device) for each in (host(there), x, weight)), **options)
    expected = engine.conv_transpose2d_backward(host(there), x, weight, **options)
    for one, other in zip(gradients, expected, strict=True):
        assert_equal(host(one), other)


# ---- precision -----------------------------------------------------------------------------------

@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@settings(max_examples=6)
@given(case=conv2d_cases(dtypes=("float32",)))
def test_precisions_on_small_integers(device, precision, direction, case):
    """Which every precision multiplies exactly: each fragment is where it belongs."""
    case = replace(case, exact=True)
    getattr(test_conv2d, direction)(case, backend="cuda", algorithm="im2col",
                                    precision=precision)


ERRORS = {"fp32": 4e-6, "fp32x3": 2e-6, "tf32": 4e-4, "bf16": 4e-3, "fp16": 5e-4}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_error_of_precisions(device, precision):
    """A sum of 4,608 products: the largest error over the largest result (docs/cuda.md)."""
    x, weight = RNG.standard_normal((1, 512, 5, 5)), RNG.standard_normal((64, 512, 3, 3))
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    y = engine.conv2d(x, weight, backend="cuda", precision=precision, algorithm="im2col")
    truth = naive.conv(x, weight)
    error = abs(y - truth).max() / abs(truth).max()
    assert ERRORS[precision] / 16 < error < ERRORS[precision]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_multiplied_on_tensor_cores(device, dtype):
    problem = Conv2dProblem.parse("mb1g1ic20oc12ih6oh4kh3", dtype=test_pool2d.named_dtype(dtype))
    case = ConvCase(problem, exact=False)
    device.launches.clear()
    test_conv2d.forward(case, backend="cuda")
    kind = {"float16": "fp16", "bfloat16": "bf16"}[dtype]
    assert f"gather_gemm_{dtype}_{kind}_64x64_nchw_None" in device.launches


# ---- refusals and errors -------------------------------------------------------------------------

X, W = np.ones((1, 2, 4, 4), np.float32), np.ones((3, 2, 3, 3), np.float32)


def test_no_device():
    message = (r"conv2d: no backend can run conv2d:f32:\S+ forward: cuda: there is no CUDA device "
               r"to be used \(looked for cuda-bindings.*\)")
    for call in (lambda: engine.conv2d(X, W, backend="cuda"),
                 lambda: engine.explain("conv2d", X, W, backend="cuda")[0]):
        try:
            result = call()
        except ValueError as error:
            assert __import__("re").fullmatch(message, str(error))
        else:  # a device is there, or this is what explain says
            assert isinstance(result, np.ndarray) or result.candidates[0].backend == "cuda"


@pytest.mark.parametrize(("wrong", "kind", "message"), [
    (lambda d: engine.conv2d(Array(X, d), W), TypeError,
     r"(?s)conv2d: `weight` is array\(.*\(ndarray\), expected a CUDA array \(as the others\)"),
    (lambda d: engine.conv2d(Array(X, d), Array(W, d), backend="c"), ValueError,
     r'conv2d: `backend` is "c", expected "cuda" \(the arrays are on a CUDA device\)'),
    (lambda d: engine.conv2d(Array(X, d), Array(W.astype(float), d)), TypeError,
     r"conv2d: `x` has dtype float32, expected float64 \(CUDA arrays are not cast\)"),
    (lambda d: engine.conv2d(X, W, precision="fp8"), ValueError,
     r'conv2d: `precision` is "fp8", expected one of "fp32", "fp32x3", "tf32", "bf16", "fp16"'),
    (lambda d: engine.conv2d(X, W, precision="tf32", backend="cuda", algorithm="direct"),
     ValueError, r"conv2d: no backend can run .*:tf32 forward: cuda/direct: it sums as it is, not "
     r"in tf32; cuda/im2col: .* was asked for"),
    (lambda d: engine.conv2d(X, W, backend="cuda", algorithm="winograd"), ValueError,
     r"conv2d: no backend can run .* cuda/winograd: it has no such algorithm"),
    (lambda d: engine.conv2d(Array(X, d), Array(W[:, :1], d)), ValueError,
     r"conv2d: `weight` has 1 input channels, expected 2 \(x has 2 channels, groups=1\)"),
    (lambda d: engine.max_pool2d(Array(X, d), 9), ValueError, r"max_pool2d: `kernel_size` spans 9"),
    (lambda d: engine.avg_pool2d(Array(X.astype(int), d), 2), TypeError,
     r"avg_pool2d: `x` has dtype int64, expected float64 \(CUDA arrays are not cast\)"),
])
def test_message(device, wrong, kind, message):
    with pytest.raises(kind, match=message):
        wrong(device)


def test_use_backend(device):
    with engine.use_backend("cuda"):
        assert_equal(engine.conv2d(X, W), naive.conv(X, W))
        assert _plan.last_run().backend == "cuda"
    engine.conv2d(X, W)
    assert _plan.last_run().backend != "cuda"


# ---- the emulator finds what is wrong ------------------------------------------------------------

BARRIERS = {  # a kernel with barriers, and a call that takes it through all of them
    "gather_gemm": lambda: engine.conv2d(LONG, WIDE, backend="cuda", algorithm="im2col"),
    "gather_gemm_weight": lambda: engine.conv2d_backward_weight(
        engine.conv2d(LONG, WIDE), LONG, WIDE.shape, backend="cuda", algorithm="im2col"),
    "gather_weight": lambda: engine.conv2d_backward_weight(
        engine.conv2d(LONG, WIDE), LONG, WIDE.shape, backend="cuda", algorithm="direct")}
LONG, WIDE = np.ones((1, 8, 6, 6), np.float32), np.ones((8, 8, 3, 3), np.float32)


@pytest.mark.parametrize("name", BARRIERS)
def test_a_removed_barrier_is_found(device, name):
    """Each in turn; with all of them the kernel runs."""
    lines = set()
    with pytest.MonkeyPatch.context() as patch:
        launch = device.launch

        def noted(kernel, grid, args, stream):
            launch(kernel, grid, args, stream)
            if kernel.name.startswith(f"{name}_float32"):
                lines.update(device.barriers)

        patch.setattr(device, "launch", noted)
        BARRIERS[name]()
        assert len(lines) >= 2
        for line in lines:
            patch.setattr(device, "without_barrier", line)
            with pytest.raises(emulate.Race):
                BARRIERS[name]()


def test_an_address_outside_is_found(device):
    def kernel(x: ADDRESS, count: I32):
        gemm.store("float32")(x, gemm.thread(), np.float32(1), gemm.less(gemm.thread(), count))

    array = np.zeros(20, np.float32)
    address = device.memory.register(array)
    device.launch(Kernel("inside", kernel, 32), (1, 1, 1), (address, 20), 0)
    assert array.all()
    with pytest.raises(emulate.Astray, match="elements 0 to 20 of an array with 20"):
        device.launch(Kernel("outside", kernel, 32), (1, 1, 1), (address, 21), 0)


def test_shared_memory_starts_as_nothing(device):
    def kernel(x: ADDRESS):
        memory = gemm.shared("float32", 32)()
        gemm.store("float32")(x, gemm.thread(), sums.lds("float32")(memory, gemm.thread()), True)

    array = np.zeros(32, np.float32)
    device.launch(Kernel("unset", kernel, 32), (1, 1, 1), (device.memory.register(array),), 0)
    assert np.isnan(array).all()


@pytest.mark.parametrize("precision", ["fp32", "fp32x3", "bf16"])
def test_sums_do_not_depend_on_tiles_or_batch(device, precision, monkeypatch):
    """Small and large tiles add up in one order, so an image has the same bits in any batch."""
    x = RNG.standard_normal((40, 6, 12, 12)).astype(np.float32)
    weight = RNG.standard_normal((72, 6, 3, 3)).astype(np.float32)
    options = {"backend": "cuda", "precision": precision, "algorithm": "im2col"}
    device.launches.clear()
    many = engine.conv2d(x, weight, **options)
    monkeypatch.setattr(conv2d_cuda, "_LEAST_BLOCKS", 132)
    few = engine.conv2d(x[:1], weight, **options)
    names = [f"gather_gemm_float32_{precision}_{tile}_nchw_None" for tile in ("128x128", "64x64")]
    assert [device.launches[name] for name in names] == [1, 1]
    assert_equal(few, many[:1])
    assert gemm.TILES[0] == gemm_weight.TILES[0] == (128, 128)


def test_close_is_meant(device):
    """The tolerance that other backends keep holds for long sums of float32 as well."""
    x, weight = RNG.standard_normal((1, 200, 6, 6)), RNG.standard_normal((16, 200, 3, 3))
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    for precision in ("fp32", "fp32x3"):
        y = engine.conv2d(x, weight, backend="cuda", precision=precision)
        assert_close(y, naive.conv(x, weight), naive.conv(abs(x), abs(weight)), 1800)


