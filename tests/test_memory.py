"""Large outputs live in memory that is used again: never while anything can still see it."""

import gc
import subprocess
import sys

import numpy as np
import pytest

import engine

SHAPE = (2, 32, 80, 80)  # 1.6 MB of float32: large enough to be pooled
WEIGHT = np.ones((32, 1, 1, 1), np.float32)


def output(value):
    """A large output that is `value` everywhere."""
    x = np.full(SHAPE, value, np.float32)
    return engine.conv2d(x, WEIGHT, groups=32)


def address(array):
    return array.__array_interface__["data"][0]


def test_a_dropped_output_is_used_again():
    first = output(1)
    where = address(first)
    del first
    assert where in [address(output(2)) for _ in range(2)]


def test_living_outputs_are_kept():
    alive = [output(value) for value in range(12)]
    for value in range(12, 30):
        output(value)
    assert len({address(each) for each in alive}) == len(alive)
    for value, each in enumerate(alive):
        assert (each == value).all()


@pytest.mark.parametrize("view_of", [
    lambda y: y[1, 3:5, ::2, -1:], lambda y: y.reshape(-1)[7:9], lambda y: y.transpose(3, 1, 0, 2),
    lambda y: y.view(np.uint8)[..., :4], memoryview, lambda y: np.asarray(memoryview(y))[0],
    lambda y: np.broadcast_to(y[0], (3, *y.shape[1:])), lambda y: np.lib.stride_tricks.as_strided(
        y, (4, 4), (4, 8))])
def test_views_keep_their_memory(view_of):
    view = view_of(output(7))
    before = np.array(view)
    gc.collect()
    others = [output(value) for value in range(20, 26)]
    assert np.array_equal(np.array(view), before)
    assert not any(np.shares_memory(np.asarray(view), each) for each in others)


def test_gradients_and_pools_are_kept():
    rng = np.random.default_rng(0)
    results, copies = [], []
    for _ in range(6):
        x = rng.standard_normal(SHAPE, np.float32)
        y = engine.conv2d(x, WEIGHT, groups=32)
        grads = engine.conv2d_backward(y, x, WEIGHT, groups=32)
        pooled, indices = engine.max_pool2d(x, 3, stride=1, padding=1, return_indices=True)
        dx = engine.max_pool2d_backward(pooled, x, 3, stride=1, padding=1, indices=indices)
        results += [y, grads.dx, pooled, indices, dx]
        copies += [each.copy() for each in results[-5:]]
    for each, copy in zip(results, copies, strict=True):
        assert np.array_equal(each, copy)


def test_outputs_can_be_written():
    y = output(3)
    assert y.flags.writeable and y.flags.aligned and y.flags.c_contiguous
    y += 1
    assert (y == 4).all()


GROWTH = """
import gc, os, sys
import numpy as np
import engine

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def step(rng, h, w, c, k):
    x = rng.standard_normal((1, c, h, w), np.float32)
    weight = rng.standard_normal((k, c, 3, 3), np.float32)
    y = engine.conv2d(x, weight, padding=1)
    engine.conv2d_backward(y, x, weight, padding=1)
    engine.max_pool2d_backward(engine.max_pool2d(y, 2), y, 2)

rng = np.random.default_rng(0)
shapes = [(int(h), int(w), int(c), int(k)) for h, w, c, k in
          zip(rng.integers(4, 90, 500), rng.integers(4, 90, 500), rng.integers(1, 40, 500),
              rng.integers(1, 40, 500))]
for shape in [(90, 90, 40, 40), *shapes[:5]]:  # the largest comes first
    step(rng, *shape)
gc.collect()
before = resident()
for shape in shapes:
    step(rng, *shape)
gc.collect()
print((resident() - before) / 1e6)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_500_shapes_grow_memory_by_less_than_20_megabytes():
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 20
