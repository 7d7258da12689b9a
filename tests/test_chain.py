"""Bound calls that are carried out together: the same bits, in order, in one call of C."""

import os
import subprocess
import sys

import numpy as np
import pytest
import variants

import engine
from engine import kernels

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4, 40, 33)).astype(np.float32)
W = RNG.standard_normal((6, 2, 3, 3)).astype(np.float32)
POINTWISE = RNG.standard_normal((70, 6, 1, 1)).astype(np.float32)
B = RNG.standard_normal(6).astype(np.float32)


class Network:
    """Four bound calls, from x to y."""

    def __init__(self, backend=None, order="C", dtype=np.float32, activation="relu"):
        def array(*shape):
            return np.zeros(shape, dtype, order)

        self.x, self.y = array(*X.shape), array(3, 70, 1, 1)
        a, b, c = array(3, 6, 40, 33), array(3, 6, 19, 16), array(3, 70, 19, 16)
        first = engine.plan_conv2d(X.shape, W.astype(dtype), B.astype(dtype), groups=2, padding=1,
                                   activation=activation, backend=backend)
        second = engine.plan_conv2d(b.shape, POINTWISE.astype(dtype), backend=backend)
        self.calls = [first.bind(self.x, a),
                      engine.bind_pool2d("max_pool2d", a, 3, stride=2, out=b, backend=backend),
                      second.bind(b, c),
                      engine.bind_pool2d("global_max_pool2d", c, out=self.y, backend=backend)]

    def results(self, run):
        """y of two inputs."""
        found = []
        for x in (X, -X):
            self.x[...] = x
            run()
            found.append(self.y.copy())
        return found

    def one_by_one(self):
        for call in self.calls:
            call()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("variant", variants.params("pool2d"))
def test_results_are_those_of_the_calls(variant, order):
    in_c = variant.backend == "c"
    with variants.level(variant):
        for dtype in (np.float32, np.float64, np.int32)[:3 if in_c else 1]:
            network = Network(**variant.options, order=order, dtype=dtype)
            expected = network.results(network.one_by_one)
            chain = engine.chain(iter(network.calls))
            np.testing.assert_array_equal(network.results(chain), expected)
            assert f"4 {'in one call of C' if in_c else 'on their own'}>" in repr(chain)


@pytest.mark.skipif("c" not in kernels.BACKENDS or isinstance(kernels.load("conv2d", "c"), str),
                    reason="the C module was not built")
def test_other_functions_keep_their_place():
    network = Network("c")
    expected = network.results(network.one_by_one)
    seen = []
    first, *rest = network.calls
    chain = engine.chain([first, lambda: seen.append(network.y.copy()), *rest,
                          engine.chain([]), lambda: seen.append(network.y.copy())])
    assert repr(chain) == ("<engine.chain of 7 calls: 1 in one call of C, 3 in one call of C, "
                           "3 on their own>")
    np.testing.assert_array_equal(network.results(chain), expected)
    np.testing.assert_array_equal(seen, [expected[1], expected[0], *expected])
    applied = Network("c", activation="tanh")  # which no kernel does itself
    assert "1 on their own" in repr(engine.chain(applied.calls))


def test_arrays_and_scratch_live_as_long_as_the_chain():
    network = Network()
    expected = network.results(network.one_by_one)
    x, y, chain = network.x, network.y, engine.chain(network.calls)
    del network
    others = [np.full(1 << 17, 7, np.float32) for _ in range(20)]
    x[...] = X
    chain()
    np.testing.assert_array_equal(y, expected[0])
    assert all((each == 7).all() for each in others)


def test_an_empty_chain_does_nothing():
    chain = engine.chain([])
    assert chain() is None and repr(chain) == "<engine.chain of 0 calls>"


def test_what_cannot_be_called():
    with pytest.raises(TypeError, match=r"chain: `calls\[1\]` is 3 \(int\), expected a function"):
        engine.chain([print, 3])


def test_every_call_of_a_chain_is_reported():
    """With ENGINE_VERBOSE=1 each is carried out, and said, for itself."""
    code = """
import numpy as np, engine
x, y, z = np.ones((4, 4)), np.ones((3, 3)), np.ones((1, 1))
run = engine.chain([engine.plan_conv2d((4, 4), np.ones((2, 2))).bind(x, y),
                    engine.bind_pool2d("max_pool2d", y, 3, out=z)])
run()
assert z == 4
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "ENGINE_VERBOSE": "1"})
    assert done.returncode == 0, done.stderr
    assert [line.split()[2] for line in done.stderr.splitlines()] == ["forward", "forward"]
