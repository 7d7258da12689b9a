"""Sums take subnormal numbers for zeros, which cost nothing extra; maxima tell them apart."""

import numpy as np
import pytest
import variants

import engine
from engine import _plan

GEOMETRIES = [  # x, weight, options: one for each family of kernels
    ((2, 32, 15, 15), (48, 32, 3, 3), {"padding": 1}),
    ((2, 32, 15, 15), (48, 32, 1, 1), {}),
    ((2, 32, 15, 15), (32, 1, 3, 3), {"groups": 32}),
    ((2, 3, 30, 30), (48, 3, 3, 3), {}),
    ((2, 32, 15, 15), (48, 32, 5, 5), {"stride": 2}),
]


def arithmetic_is_ieee():
    return np.float32(1e-40) * np.float32(0.5) > 0


DIRECTIONS = {
    "forward": lambda x, weight, dy, **options: engine.conv2d(x, weight, **options),
    "backward_data": lambda x, weight, dy, **options: engine.conv2d_backward_data(
        dy, weight, x.shape, **options),
    "backward_weight": lambda x, weight, dy, **options: engine.conv2d_backward_weight(
        dy, x, weight.shape, **options),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("variant", variants.params("conv2d"))
def test_convolutions(variant, direction, dtype):
    tiny, ran = np.finfo(dtype).smallest_normal / 1e4, 0
    for x_shape, weight_shape, geometry in GEOMETRIES:
        x, weight = np.full(x_shape, tiny, dtype), np.full(weight_shape, 0.5, dtype)
        dy = np.full_like(engine.conv2d(x, weight, **geometry), 0.5)
        if direction == "backward_data":
            dy = np.full_like(dy, tiny)
        with variants.level(variant):
            try:
                result = DIRECTIONS[direction](x, weight, dy, **geometry, **variant.options)
            except ValueError:
                continue  # no such algorithm there
            variants.assert_ran(variant, "conv2d", direction)
        assert (result == 0).all() or variant.backend == "numpy"
        assert arithmetic_is_ieee()
        ran += 1
    if not ran:
        pytest.skip(f"it has no {direction} of {dtype}")


@pytest.mark.parametrize("variant", variants.params("pool2d"))
def test_poolings(variant):
    x = (np.arange(2 * 5 * 20 * 20, dtype=np.float32) % 7 - 3).reshape(2, 5, 20, 20) * 1e-42
    x = x.astype(np.float32)
    with variants.level(variant), engine.use_backend(variant.backend):
        averages = engine.avg_pool2d(x, 3, stride=2)
        variants.assert_ran(variant, "pool2d", "forward")
        maxima, minima = engine.max_pool2d(x, 3, stride=2), engine.min_pool2d(x, 3, stride=2)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))[:, :, ::2, ::2]
    np.testing.assert_array_equal(maxima, windows.max((4, 5)))
    np.testing.assert_array_equal(minima, windows.min((4, 5)))
    assert (averages == 0).all() or variant.backend == "numpy"
    assert arithmetic_is_ieee()


def test_threads_of_other_calls_see_subnormals_again():
    """Helpers of the pool take each call's mode: maxima after a convolution are exact."""
    x = np.full((2, 64, 64, 64), 1e-40, np.float32)
    with engine.num_threads(2):
        for _ in range(3):
            assert (engine.conv2d(x, np.ones((8, 64, 3, 3), np.float32)) == 0).all()
            assert (engine.max_pool2d(x, 2) == np.float32(1e-40)).all()
    assert _plan.last_run().backend in ("c", "numba")
