"""Moments, batch normalisation and the gradient of ReLU: every backend and level against loops."""

import numpy as np
import pytest
from naive import batch_norm, batch_norm_backward, moments, wide
from tolerance import assert_close, assert_equal
from variants import level, params

import engine

EPSILON = 1e-3
VARIANTS = params("norm")
# many blocks of images; one image; planes of several chunks; less than a vector; many channels
SHAPES = [(67, 3, 5, 7), (1, 21, 9, 11), (2, 2, 67, 64), (5, 1, 1, 3), (3, 37, 4),
          (2, 130, 2, 2, 2), (150, 19)]
ORDERS = ["planes", "pixels", "strided"]


def arranged(array, order):
    """The array (n, c, ...) with its memory in that order."""
    if order == "pixels":
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    if order == "strided":
        return np.repeat(array, 2, axis=-1)[..., ::2][::-1]
    return np.ascontiguousarray(array)


def case(shape, order, dtype, offset=1):
    """x, dy, residual; weight, bias."""
    rng = np.random.default_rng(len(shape) + shape[0])
    x, dy, residual = (arranged(rng.normal(mean, 1, shape).astype(dtype), order)
                       for mean in (offset, 0.5, 0))
    weight, bias = (rng.normal(mean, 0.5, shape[1]).astype(dtype) for mean in (1, 0))
    return x, dy, residual, weight, bias


def per_channel(vector, like):
    return wide(vector).reshape(-1, *(1,) * (like.ndim - 2))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_against_loops(shape, dtype, variant):
    for order in ORDERS:
        with level(variant):
            check(shape, order, dtype, variant.options)


def check(shape, order, dtype, options):
    x, dy, residual, weight, bias = case(shape, order, dtype)
    count = x.size // shape[1]
    axes = (0, *range(2, x.ndim))
    mean, variance = engine.moments(x, **options)
    assert mean.dtype == variance.dtype == dtype
    true_mean, true_variance = moments(x)
    assert_close(mean, true_mean, abs(wide(x)).mean(axis=axes), count)
    assert_close(variance, true_variance, true_variance, count + 8)

    options = {"epsilon": EPSILON, **options}
    vectors = mean, variance, weight, bias
    scale = per_channel(weight, x) / np.sqrt(per_channel(variance, x) + EPSILON)
    distance = abs((wide(x) - per_channel(mean, x)) * scale)
    for extra in (None, residual):
        for activation in (None, "relu"):
            y = engine.batch_norm(x, *vectors, residual=extra, activation=activation, **options)
            truth = batch_norm(x, *vectors, EPSILON, 0 if extra is None else wide(extra),
                               activation == "relu")
            size = distance + abs(per_channel(bias, x)) + (0 if extra is None else abs(wide(extra)))
            assert_close(y, truth, size, 8)
            out = arranged(np.empty(shape, dtype), order)
            assert engine.batch_norm(x, *vectors, residual=extra, activation=activation, out=out,
                                     **options) is out
            assert_equal(out, y)

    for activation in (None, "relu"):
        live = 1 if activation is None else batch_norm(x, *vectors, EPSILON) > 0
        dweight, dbias = engine.batch_norm_backward_weight(dy, x, *vectors, activation=activation,
                                                           **options)
        dx = engine.batch_norm_backward_data(dy, x, *vectors, dweight, dbias,
                                             activation=activation, **options)
        truth, true_dweight, true_dbias = batch_norm_backward(dy * live, x, mean, variance, weight,
                                                              EPSILON)
        size = abs(wide(dy) * distance / abs(per_channel(weight, x))).sum(axis=axes)
        assert_close(dweight, true_dweight, size, count + 8)
        assert_close(dbias, true_dbias, abs(wide(dy)).sum(axis=axes), count)
        sizes = abs(wide(dy)).mean(axis=axes), size / count
        size = abs(scale) * (abs(wide(dy)) + per_channel(sizes[0], x)
                             + distance / abs(per_channel(weight, x)) * per_channel(sizes[1], x))
        assert_close(dx, truth, size, count + 8)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_small_variance_beside_a_large_mean(variant):
    x = case((8, 3, 33, 33), "planes", np.float32, offset=3e4)[0]
    for order in ("planes", "pixels"):
        with level(variant):
            _, variance = engine.moments(arranged(x, order), **variant.options)
        if variant.backend == "c":
            np.testing.assert_allclose(variance, moments(x)[1], rtol=1e-4)
        else:
            assert (abs(variance - 1) < 0.2).all()


@pytest.mark.parametrize("order", ORDERS[:2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_change_no_bit(order, dtype):
    for shape in ((40, 5, 32, 33), (1, 24, 64, 65)):
        x, dy, residual, weight, bias = case(shape, order, dtype)
        found = []
        for threads in (1, 2, 3):
            with engine.num_threads(threads):
                vectors = *engine.moments(x), weight, bias
                y = engine.batch_norm(x, *vectors, residual=residual, activation="relu")
                gradients = engine.batch_norm_backward_weight(dy, x, *vectors, activation="relu")
                dx = engine.batch_norm_backward_data(dy, x, *vectors, *gradients)
                found.append([*vectors, y, *gradients, dx, engine.relu_backward(dy, y)])
        for others in found[1:]:
            for one, other in zip(found[0], others, strict=True):
                assert_equal(other, one)


def test_channels_last():
    x, dy, residual, weight, bias = case((4, 7, 6, 5), "pixels", np.float32)
    last = [np.moveaxis(each, 1, -1) for each in (x, dy, residual)]
    vectors = *engine.moments(x), weight, bias
    for one, other in zip(vectors, engine.moments(last[0], axis=-1), strict=False):
        assert_equal(other, one)
    y = engine.batch_norm(last[0], *vectors, residual=last[2], axis=-1)
    assert y.flags.c_contiguous
    assert_equal(np.moveaxis(y, -1, 1), engine.batch_norm(x, *vectors, residual=residual))
    sums = engine.batch_norm_backward_weight(last[1], last[0], *vectors, axis=-1)
    dx = engine.batch_norm_backward_data(last[1], last[0], *vectors, *sums, axis=-1)
    assert_equal(np.moveaxis(dx, -1, 1), engine.batch_norm_backward_data(dy, x, *vectors, *sums))


def test_as_in_torch():
    torch = pytest.importorskip("torch")
    x, dy, _, weight, bias = case((6, 5, 7, 8), "planes", np.float64)
    theirs = [torch.from_numpy(each).requires_grad_() for each in (x, weight, bias)]
    y = torch.relu(torch.nn.functional.batch_norm(theirs[0], None, None, *theirs[1:],
                                                  training=True, eps=EPSILON))
    y.backward(torch.from_numpy(dy))
    vectors = *engine.moments(x), weight, bias
    options = dict(epsilon=EPSILON, activation="relu")
    np.testing.assert_allclose(engine.batch_norm(x, *vectors, **options), y.detach(), atol=1e-13)
    sums = engine.batch_norm_backward_weight(dy, x, *vectors, **options)
    dx = engine.batch_norm_backward_data(dy, x, *vectors, *sums, **options)
    for ours, tensor in zip((dx, *sums), theirs, strict=True):
        np.testing.assert_allclose(ours, tensor.grad, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_other_dtypes(dtype):
    x = np.array([[1, 5], [3, 8]], dtype)
    mean, variance = engine.moments(x)
    assert mean.dtype == (np.float16 if dtype == np.float16 else np.float64)
    assert_equal(mean, [2, 6.5])
    assert_equal(variance, [1, 2.25])
    y = engine.batch_norm(x, mean, variance, epsilon=0)
    assert_equal(y, [[-1, -1], [1, 1]])


def test_a_part_of_a_batch():
    """Two halves give what the whole does, if sums and count are those of the whole."""
    x, dy, _, weight, bias = case((8, 3, 4, 5), "planes", np.float64)
    vectors = *engine.moments(x), weight, bias
    sums = engine.batch_norm_backward_weight(dy, x, *vectors)
    dx = engine.batch_norm_backward_data(dy, x, *vectors, *sums)
    half = engine.batch_norm_backward_data(dy[:4], x[:4], *vectors, *sums, count=8 * 4 * 5)
    np.testing.assert_allclose(half, dx[:4], atol=1e-14)


def test_a_batch_of_none():
    x, vector = np.empty((0, 3, 4), np.float32), np.ones(3, np.float32)
    assert engine.batch_norm(x, vector, vector).shape == x.shape
    assert_equal(engine.batch_norm_backward_weight(x, x, vector, vector).dbias, np.zeros(3))
    with pytest.raises(ValueError, match=r"moments: `x` has shape \(0, 3, 4\), expected at least"):
        engine.moments(x)


@pytest.mark.parametrize("shape", [(), (1,), (37,), (3, 5, 7), (70001,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64])
@pytest.mark.parametrize("variant", params("relu"))
def test_relu_backward(shape, dtype, variant):
    rng = np.random.default_rng(0)
    dy, y = (rng.integers(-3, 4, shape).astype(dtype) for _ in range(2))
    if variant.backend == "c" and dtype not in (np.float32, np.float64):
        with pytest.raises(ValueError, match="it computes in float32 and float64"):
            engine.relu_backward(dy, y, backend="c")
        return
    with level(variant):
        dx = engine.relu_backward(dy, y, **variant.options)
        truth = np.where(y > 0, dy, 0)
        assert_equal(dx, truth)
        assert dx.dtype == dtype
        assert_equal(engine.relu_backward(dy.T, y.T, **variant.options), truth.T)
        assert engine.relu_backward(dy, y, out=dy, **variant.options) is dy
        assert_equal(dy, truth)


def test_relu_stops_nan_of_y_only():
    dy, y = np.array([1.0, np.nan, np.nan]), np.array([np.nan, 1.0, 0.0])
    assert_equal(engine.relu_backward(dy, y), [0, np.nan, 0])


X, V = np.ones((2, 3, 4), np.float32), np.ones(3, np.float32)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: engine.moments(V), ValueError, r"moments: `x` has 1 dimensions, expected at least 2"),
    (lambda: engine.moments(X, axis=0), ValueError, r"`axis` is 0 \(int\), expected 1 or -1"),
    (lambda: engine.moments(np.array([["a"]])), TypeError, "`x` has dtype <U1"),
    (lambda: engine.moments(X, backend="cuda"), ValueError, "`backend`|no|not"),
    (lambda: engine.batch_norm(X, V, V[:2]), ValueError,
     r"batch_norm: `variance` has shape \(2,\), expected \(3,\)"),
    (lambda: engine.batch_norm(X, V, V, residual=X[:1]), ValueError,
     r"`residual` has shape \(1, 3, 4\), expected \(2, 3, 4\)"),
    (lambda: engine.batch_norm(X, V, V, epsilon=-1), ValueError, r"`epsilon` is -1 \(int\)"),
    (lambda: engine.batch_norm(X, V, V, activation="tanh"), ValueError, '`activation` is "tanh"'),
    (lambda: engine.batch_norm(X, V, V, out=X), ValueError, "`out` overlaps `x`"),
    (lambda: engine.batch_norm_backward_data(X, X, V, V, V, V, V, V, count=0), ValueError,
     "`count` is 0, expected at least 1"),
    (lambda: engine.relu_backward(X, V), ValueError, r"relu_backward: `dy` has shape"),
])
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_explain():
    (moment,) = engine.explain("moments", X)
    assert str(moment.problem) == "batch_norm:f32:nchw:mb2c3i4"
    assert moment.chosen.backend in ("c", "numpy")
