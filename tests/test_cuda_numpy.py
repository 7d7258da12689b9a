"""NumPy's functions on arrays of a device that is emulated: NumPy's results and dtypes."""

import copy
import pickle

import numpy as np
import pytest
from cuda_emulation import emulated
from tolerance import assert_equal

import engine.cuda

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def device():
    with emulated() as device:
        yield device


def there(values):
    return engine.cuda.asarray(values)


def check(function, *operands):
    """The function gives the same on both; on the device it stays there."""
    expected = function(*operands)
    result = function(*(there(each) if isinstance(each, np.ndarray) else each
                        for each in operands))
    assert engine.cuda.is_cuda(result)
    assert result.dtype == expected.dtype
    assert_equal(engine.cuda.asnumpy(result), expected)


X = RNG.standard_normal((3, 4, 5)).astype(np.float32)
X[0, 1] = [np.nan, np.inf, -np.inf, 0, -0.0]
INTEGERS = RNG.integers(-9, 9, (4, 5))


@pytest.mark.parametrize("function", [
    np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.greater, np.less_equal,
    np.equal, np.not_equal, np.power], ids=lambda ufunc: ufunc.__name__)
def test_two_operands(device, function):
    with np.errstate(all="ignore"):
        check(function, X, X[:1, ::-1])
        check(function, X.transpose(2, 0, 1), np.float64(2))
        check(lambda a, b: function(a, b), X[1:].astype(np.float16), X[:2])
        if function is not np.power:
            check(function, INTEGERS, 3)
            check(function, 3, INTEGERS[::2, 1:])
            check(function, INTEGERS, X[0])


@pytest.mark.parametrize("function", [
    np.negative, np.absolute, np.square, np.sqrt, np.exp, np.log, np.log1p, np.tanh, np.isnan],
    ids=lambda ufunc: ufunc.__name__)
def test_one_operand(device, function):
    with np.errstate(all="ignore"):
        check(function, X)
        check(function, X[:, ::2].astype(float))


def test_functions(device):
    big, flags = RNG.standard_normal((2, 40, 70)).astype(np.float32), X > 0
    check(lambda x: np.where(x > 0, x, x * 2), X)
    check(lambda x: np.clip(x, -1, 0.5), X)
    check(lambda x: np.concatenate([x, x[:, :1], x * 2], axis=1), X)
    check(lambda x: np.split(x, [1, 3], axis=1)[1], X)
    check(lambda x: np.expand_dims(x, 1).reshape(3, -1), X)
    check(lambda x: np.zeros((2, 3), x.dtype, like=x) + 1, X)
    check(lambda x: np.ones_like(x) * np.zeros_like(x), X)
    check(lambda x: x.transpose(0, 2, 1).reshape(15, 4), X)
    check(lambda x: (x > 0) & ~(x < 1) | (x == 3), X)
    check(lambda x: x.astype(np.float64), X)
    for axis in (None, 0, -1, (0, 2), (1, 2)):
        check(lambda x, axis=axis: x.sum(axis=axis), np.round(8 * big))  # exact in any order
        check(lambda x, axis=axis: x.max(axis=axis, keepdims=True), X)
        check(lambda x, axis=axis: np.min(x, axis=axis), X)
        check(lambda x, axis=axis: np.sum(x, axis=axis), INTEGERS if axis is None else flags)
    check(lambda x: np.sum(x, axis=-1), flags)
    check(lambda x: x.any(axis=0), flags)
    check(lambda x: np.mean(x, axis=1), INTEGERS)
    check(lambda x: np.square(x, dtype=np.float64).sum(), np.round(big))
    check(lambda x: np.sum(x), np.ones((300, 97), np.float16))  # by several blocks


def test_in_place(device):
    x, expected = there(X[1:]), X[1:].copy()
    for each in (x, expected):
        each *= 2
        each[:, 1:3] = each[:, 2:4]  # which overlap
        each[0] -= 1
        each[..., ::2] = 7
        each[:, 0] += np.arange(5, dtype=np.float32)
    assert_equal(x.copy_to_host(), expected)
    assert float(x.sum(dtype=np.float64)) == pytest.approx(expected.sum())
    for twin in (copy.deepcopy(x), x.copy(), pickle.loads(pickle.dumps(x))):
        twin += 1
        assert_equal(twin.copy_to_host(), expected + 1)
    assert_equal(x.copy_to_host(), expected)


def test_memory_order_is_kept(device):
    last = X.transpose(1, 2, 0)
    for result in (there(last), there(last) + 1, there(last).copy(), np.zeros_like(there(last))):
        assert result.strides == (20, 4, 80) == last.strides


@pytest.mark.parametrize(("wrong", "kind", "message"), [
    (lambda x: np.asarray(x), TypeError, r"not copied to the host unasked, expected engine.cuda"),
    (lambda x: np.sin(x), TypeError, "all returned NotImplemented"),
    (lambda x: np.linalg.norm(x), TypeError, "no implementation found for 'numpy.linalg.norm'"),
    (lambda x: x[[0, 1]], TypeError, r"has no index \[0, 1\], expected integers and slices"),
    (lambda x: x[5], IndexError, "out of bounds"),
    (lambda x: x.reshape(7, -1), ValueError, "cannot reshape array of size 60"),
    (lambda x: np.add(x, 1, out=there(INTEGERS)), ValueError,
     r"add: the result has shape \(3, 4, 5\), expected \(4, 5\)"),
    (lambda x: np.add(x[0], 1, out=there(INTEGERS)), TypeError,
     "add: the result has dtype float32, expected one that can be cast to int64"),
    (lambda x: x & 1.5, TypeError, "bitwise_and"),
    (lambda x: x + np.array(["a"]), TypeError, "operand has dtype <U1, expected one of float16"),
    (lambda x: x.sum(axis=3), ValueError, "axis 3 is out of bounds for array of dimension 3"),
    (lambda x: x[:0].max(), ValueError, "zero-size array to reduction operation maximum"),
])
def test_message(device, wrong, kind, message):
    with pytest.raises(kind, match=message):
        wrong(there(X))


def test_no_device():
    if not engine.cuda.is_available():
        with pytest.raises(RuntimeError, match="asarray: there is no CUDA device to be"):
            engine.cuda.asarray(X)
    assert not engine.cuda.is_cuda(X) and engine.cuda.asnumpy(X) is X
