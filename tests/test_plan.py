"""Which kernel runs, what explain says about it, and calls that are carried out again."""

import subprocess
import sys

import numpy as np
import pytest
import variants

import engine
from engine import _plan, _recall, kernels

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 4, 9, 8)).astype(np.float32)
W = RNG.standard_normal((6, 2, 3, 3)).astype(np.float32)
B = RNG.standard_normal(6).astype(np.float32)
DY = RNG.standard_normal((2, 6, 7, 6)).astype(np.float32)


def backends(op):
    return [name for name in kernels.BACKENDS if not isinstance(kernels.load(op, name), str)]


# ---- candidates --------------------------------------------------------------------------------

@pytest.mark.parametrize("backend", [None, *kernels.BACKENDS])
@pytest.mark.parametrize(("op", "args", "family"), [
    ("conv2d", (X, W), "conv2d"), ("conv2d_backward_data", (DY, W, X.shape), "conv2d"),
    ("conv2d_backward_weight", (DY, X, W.shape), "conv2d"), ("max_pool2d", (X, 2), "pool2d"),
    ("avg_pool2d_backward", (X[:, :, :4, :4], X, 2), "pool2d")])
def test_what_explain_chooses_runs(op, args, family, backend):
    options = {"groups": 2} if family == "conv2d" else {}
    (explained,) = engine.explain(op, *args, backend=backend, **options)
    if explained.chosen is None:
        assert backend not in backends(family)
        with pytest.raises(ValueError, match="no backend can run"):
            getattr(engine, op)(*args, backend=backend, **options)
        return
    getattr(engine, op)(*args, backend=backend, **options)
    run = _plan.last_run()
    assert (run.op, run.direction) == (family, explained.direction)
    assert (run.backend, run.algorithm) == explained.chosen[:2]
    assert run.backend == (backend or backends(family)[0])


def test_explain_lists_every_candidate():
    """One runs; those after it could, or say why not."""
    (explained,) = engine.explain(engine.conv2d, X, W, groups=2)
    for backend in backends("conv2d"):
        algorithms = {each.algorithm for each in explained.candidates if each.backend == backend}
        assert algorithms == set(kernels.load("conv2d", backend).ALGORITHMS)
    lines = str(explained).splitlines()
    assert lines[0] == "conv2d:f32:nchw:mb2g2ic4oc6ih9iw8oh7ow6kh3sh1dh0ph0 forward"
    assert [line.endswith(": runs") for line in lines].count(True) == 1
    assert len(lines) == 1 + len(explained.candidates)


def test_explain_of_several_computations():
    directions = [each.direction for each in engine.explain("conv2d_backward", DY, X, W, groups=2)]
    assert directions == ["backward_data", "backward_weight", "backward_bias"]
    (only,) = engine.explain("conv2d_backward", DY, X, W, groups=2, wrt="weight")
    assert only.direction == "backward_weight"
    (only,) = engine.explain("conv_transpose2d", DY, W, B[:4], groups=2, activation="tanh")
    assert only.direction == "backward_data"


def test_explain_computes_nothing():
    out = np.full(DY.shape, 7, np.float32)
    engine.conv2d(X, W, groups=2)
    before = _plan.last_run()
    engine.explain("conv2d", X, W, groups=2, out=out, backend="numpy")
    assert (out == 7).all() and _plan.last_run() == before
    with pytest.raises(ValueError, match="conv2d: `stride` is 0"):
        engine.explain("conv2d", X, W, stride=0)


def test_algorithms_are_forced():
    for backend in backends("conv2d"):
        for algorithm in ("direct", "im2col"):
            if algorithm in kernels.load("conv2d", backend).ALGORITHMS:
                engine.conv2d(X, W, groups=2, backend=backend, algorithm=algorithm)
                assert _plan.last_run()[2:4] == (backend, algorithm)


def test_use_backend():
    with engine.use_backend("numpy"):
        engine.conv2d(X, W, groups=2)
        assert _plan.last_run().backend == "numpy"
        with engine.use_backend(None):
            engine.conv2d(X, W, groups=2)
            assert _plan.last_run().backend == backends("conv2d")[0]
        engine.conv2d(X, W, groups=2)
        assert _plan.last_run().backend == "numpy"
        with pytest.raises(ValueError, match="numpy/direct: it has no such algorithm"):
            engine.conv2d(X, W, groups=2, algorithm="direct")


@pytest.mark.parametrize(("missing", "reason"), [
    ("numba", "numba is not installed"), ("engine._native", "the C module was not built")])
def test_without(missing, reason):
    """What is not there refuses, and the others do its work."""
    code = f"""
import sys
sys.modules["{missing}"] = None
import engine, numpy as np
from engine import _plan
x = np.arange(16.0).reshape(4, 4)
y = engine.conv2d(x, np.ones((3, 3)), backend=None if {missing == "engine._native"} else "numpy")
assert y.tolist() == [[45, 54], [81, 90]], y
assert engine.max_pool2d(x, 2).tolist() == [[5, 7], [13, 15]]
print(engine.explain("conv2d", x, np.ones((3, 3))))
try:
    engine.conv2d(x, np.ones((3, 3)), backend="{'c' if 'native' in missing else 'numba'}")
except ValueError as error:
    print(error)
engine.show_config()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(reason) == 2
    assert done.stdout.count(": runs") == 1


def test_show_config(capsys):
    with engine.num_threads(3), engine.use_backend("numpy"):
        engine.show_config()
    text = capsys.readouterr().out
    assert text.startswith("engine ") and f"NumPy {np.__version__}" in text
    assert "backend      numpy" in text and "threads      3 " in text


# ---- calls carried out again -------------------------------------------------------------------

@pytest.mark.parametrize("backend", kernels.BACKENDS)
@pytest.mark.parametrize("options", [
    {}, {"padding": "same", "activation": "relu"}, {"activation": "sigmoid"}, {"stride": (2, 1)},
    {"padding": ((0, 1), (2, 0)), "padding_mode": "reflect"}], ids=str)
def test_again(backend, options):
    """The second and third call take shorter ways to the same bits."""
    if backend not in backends("conv2d"):
        pytest.skip(kernels.load("conv2d", backend))
    _plan.clear()
    options = {**options, "groups": 2, "backend": backend}
    first = engine.conv2d(X, W, B, **options)
    for _ in range(3):
        y = engine.conv2d(X, W, B, **options)
        assert np.array_equal(y, first) and _plan.last_run().backend == backend
    other = RNG.standard_normal(X.shape).astype(np.float32)
    again, bias = engine.conv2d(other, W, 2 * B, **options), 2 * B
    _plan.clear()
    assert np.array_equal(again, engine.conv2d(other, W, bias, **options))


def test_again_looks_at_what_may_change():
    """Strides, dtype, alignment, type, options and settings: none is taken from an earlier call."""
    y = [engine.conv2d(X, W, groups=2) for _ in range(3)][-1]
    last = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert engine.conv2d(last, W, groups=2).strides[1] == 4
    assert engine.conv2d(X.astype(float), W, groups=2).dtype == float
    assert np.allclose(engine.conv2d(X.astype(">f4"), W, groups=2), y, atol=1e-5)
    raw = np.zeros(X.nbytes + 1, np.uint8)
    shifted = raw[1:].view(np.float32).reshape(X.shape)
    shifted[...] = X
    for _ in range(3):
        assert np.array_equal(engine.conv2d(shifted, W, groups=2), y)
    assert np.allclose(engine.conv2d(X.tolist(), W, groups=2), y, atol=1e-5)
    assert engine.conv2d(X, W, groups=2, padding=1).shape == (2, 6, 9, 8)
    with engine.use_backend("numpy"):
        engine.conv2d(X, W, groups=2)
        assert _plan.last_run().backend == "numpy"


def test_what_is_remembered_is_bounded():
    for height in range(3, _recall.LIMIT + 50):
        engine.conv2d_backward_data(np.ones((height - 2, 1)), np.ones((3, 1)), (height, 1),
                                    backend="numpy")
    assert len(_recall.calls) <= _recall.LIMIT


# ---- plans -------------------------------------------------------------------------------------

@pytest.mark.parametrize("variant", variants.params("conv2d"))
@pytest.mark.parametrize("options", [
    {}, {"padding": 1, "activation": "relu"}, {"activation": "tanh"},
    {"padding": 2, "padding_mode": "wrap", "dilation": 2}], ids=str)
def test_plan(variant, options):
    """A plan gives what conv2d gives, into a new array or into `out`, for any strides."""
    if variant.algorithm in ("winograd", "bf16x6"):
        pytest.skip("not for these shapes and dtypes")
    with variants.level(variant):
        options = {**options, **variant.options, "groups": 2}
        y = engine.conv2d(X, W, B, **options)
        plan = engine.plan_conv2d(X.shape, W, B, **options)
        assert (plan.x_shape, plan.y_shape, plan.dtype) == (X.shape, y.shape, y.dtype)
        for _ in range(3):
            assert np.array_equal(plan(X), y)
            variants.assert_ran(variant, "conv2d", "forward")
        for out in (np.empty_like(y), np.empty(y.shape[::-1], y.dtype).T):
            for _ in range(2):
                out[...] = 0
                assert plan(X, out=out) is out and np.array_equal(out, y)
        last = np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        for _ in range(2):
            assert np.array_equal(plan(last), engine.conv2d(last, W, B, **options))


def test_a_plan_keeps_its_weight():
    weight, bias = W.copy(), B.copy()
    plan = engine.plan_conv2d(X.shape, weight, bias, groups=2)
    before = plan(X)
    weight[...], bias[...] = 0, 0
    assert np.array_equal(plan(X), before)


def test_a_plan_of_other_kinds_of_x():
    image = np.arange(9.0).reshape(3, 3)
    assert engine.plan_conv2d((3, 3), np.ones((2, 2)), 1.0)(image).tolist() == [[9, 13], [21, 25]]
    plan = engine.plan_conv2d((9, 8, 4), W, groups=2, layout="NHWC")
    last = np.ascontiguousarray(X[0].transpose(1, 2, 0))
    assert np.allclose(plan(last).transpose(2, 0, 1), engine.conv2d(X[0], W, groups=2), atol=1e-5)
    plan = engine.plan_conv2d((3, 3), np.ones((2, 2), int), dtype=np.uint8)
    assert plan(np.full((3, 3), 200, np.uint8)).tolist() == [[800, 800], [800, 800]]


def test_plan_does_not_write_over_its_input():
    plan = engine.plan_conv2d(X.shape, W[:4, :, 1:2, 1:2], groups=2)
    x = X.copy()
    plan(x), plan(x)
    with pytest.raises(ValueError, match="`out` overlaps `x`"):
        plan(x, out=x)
    assert np.array_equal(x, X)


# ---- bound to arrays ---------------------------------------------------------------------------

@pytest.mark.parametrize("variant", variants.params("conv2d"))
@pytest.mark.parametrize("options", [{"activation": "relu"}, {"activation": "tanh"},
                                     {"padding": 2, "padding_mode": "wrap"}], ids=str)
def test_a_plan_bound_to_arrays(variant, options):
    """It computes the same again and again, from what is in x then."""
    if variant.algorithm in ("winograd", "bf16x6"):
        pytest.skip("not for these shapes and dtypes")
    with variants.level(variant):
        options = {**options, **variant.options, "groups": 2}
        plan = engine.plan_conv2d(X.shape, W, B, **options)
        for x in (X.copy(), np.moveaxis(np.moveaxis(X, 1, -1).copy(), -1, 1)):
            wide = np.empty((2, 8, *plan.y_shape[2:]), np.float32)
            for out in (np.empty(plan.y_shape, np.float32), wide[:, 1:7]):
                run = plan.bind(x, out)
                for image in (X, -X):
                    x[...] = image
                    run()
                    assert np.array_equal(out, plan(x))


@pytest.mark.parametrize("variant", variants.params("pool2d"))
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint32])
@pytest.mark.parametrize(("op", "args"), [
    ("max_pool2d", (3,)), ("avg_pool2d", ((2, 3),)), ("global_avg_pool2d", ()), ("lp_pool2d", (2,)),
    ("global_max_pool2d", ())])
def test_a_pooling_bound_to_arrays(variant, op, args, dtype):
    with variants.level(variant):
        x = RNG.integers(0, 9, (2, 3, 8, 9)).astype(dtype)
        function = getattr(engine, op)
        for layout in ("NCHW", "NHWC"):
            options = {"layout": layout, **variant.options}
            y = function(x, *args, **options)
            out = np.empty_like(y)
            run = engine.bind_pool2d(op if args else function, x, *args, out=out, **options)
            for source in (x.copy(), x[::-1].copy()):
                x[...] = source
                run()
                assert np.array_equal(out, function(x, *args, **options), equal_nan=True)


@pytest.mark.parametrize("backend", kernels.BACKENDS)
@pytest.mark.parametrize("options", [
    {"activation": "tanh"}, {"activation": "relu", "padding": 2, "padding_mode": "wrap"},
    {"layout": "NHWC", "activation": "relu"}], ids=str)
def test_a_residual(backend, options):
    """Also where no kernel can add it."""
    if backend not in backends("conv2d"):
        pytest.skip(kernels.load("conv2d", backend))
    x = X.transpose(0, 2, 3, 1).copy() if "layout" in options else X
    plan = engine.plan_conv2d(x.shape, W, B, groups=2, backend=backend, **options)
    plain = engine.conv2d(x, W, B, groups=2, backend=backend, **{**options, "activation": None})
    residual = RNG.standard_normal(plan.y_shape).astype(np.float32)
    function = np.tanh if options["activation"] == "tanh" else lambda y: np.maximum(y, 0)
    for order in "CF":
        out = np.empty(plan.y_shape, np.float32, order)
        run = plan.bind(x, out, residual)
        for _ in range(2):
            run()
            np.testing.assert_allclose(out, function(plain + residual), rtol=1e-5, atol=1e-5)
        residual *= -1
        run()
        np.testing.assert_allclose(out, function(plain + residual), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["c", "numpy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_bound_to_arrays(backend, dtype):
    x = RNG.standard_normal((4, 20)).astype(dtype)[:, ::2]
    x[1] += 1e4
    x[2, 3], x[3, :2] = np.nan, (np.inf, -np.inf)
    with engine.use_backend(backend):
        for source in (x, x.copy()):
            out = np.empty_like(x)
            run = engine.bind_softmax(source, out)
            with np.errstate(invalid="ignore"):
                run()
            small = (x[:2] - x[:2].max(axis=1, keepdims=True)).astype(float)
            np.testing.assert_allclose(
                out[:2], np.exp(small) / np.exp(small).sum(axis=1, keepdims=True), rtol=1e-5)
            assert np.isnan(out[2:]).all()


def test_what_cannot_be_bound():
    plan = engine.plan_conv2d(X.shape, W, B, groups=2)
    with pytest.raises(ValueError, match="plan_conv2d: `x` has shape .* expected"):
        plan.bind(X[:1], plan(X))
    with pytest.raises(TypeError, match="plan_conv2d: `out` is None .NoneType., expected an array"):
        plan.bind(X, None)
    with pytest.raises(TypeError, match=r"plan_conv2d: `x` is \[.*expected an array"):
        plan.bind(X.tolist(), plan(X))
    y = engine.max_pool2d(X, 2)
    with pytest.raises(ValueError, match='bind_pool2d: `op` is "conv2d", expected one of'):
        engine.bind_pool2d(engine.conv2d, X, W, out=y)
    with pytest.raises(TypeError, match=r"bind_pool2d: `x` is \[.*expected an array"):
        engine.bind_pool2d("max_pool2d", X.tolist(), 2, out=y)
    with pytest.raises(ValueError, match="max_pool2d: `out` has shape .* expected"):
        engine.bind_pool2d("max_pool2d", X, 2, out=y[1:])
    with pytest.raises(ValueError, match="plan_conv2d: `residual` has shape .* expected"):
        plan.bind(X, plan(X), DY[:1])
    with pytest.raises(TypeError, match="plan_conv2d: `residual` has dtype float64"):
        plan.bind(X, plan(X), DY.astype(float))
    out = plan(X)
    with pytest.raises(ValueError, match="plan_conv2d: `out` .*`residual`"):
        plan.bind(X, out, out)
    with pytest.raises(ValueError, match=r"bind_softmax: `x` has shape \(3,\), expected \(rows,"):
        engine.bind_softmax(np.ones(3), np.ones(3))
    with pytest.raises(TypeError, match="bind_softmax: `x` has dtype int64, expected float32 or"):
        engine.bind_softmax(np.ones((1, 3), int), np.ones((1, 3), int))
