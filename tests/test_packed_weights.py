"""Weights packed once, for a plan or in C, give the bits of weights packed in the call."""

import numpy as np
import pytest

import engine
from engine._problem import Conv2dProblem
from engine.kernels import load

conv2d_c = load("conv2d", "c")
pytestmark = pytest.mark.skipif(isinstance(conv2d_c, str), reason="needs the C library")

GEOMETRIES = {
    "blocks": "g1ic20oc70ih9iw10oh9ow10kh3kw3sh1sw1dh0dw0ph1pw1",
    "odd": "g1ic33oc65ih7oh7kh5sh1dh0ph2",
    "stride": "g1ic16oc48ih11oh6kh3sh2dh0ph1",
    "no taps": "g1ic16oc33ih9oh3kh2sh4dh0ph1",
    "groups": "g3ic48oc51ih8oh8kh3sh1dh0ph1",
    "dilation": "g1ic16oc32ih12oh8kh3sh1dh1ph0",
}
ONE_TAP = {
    "1x1": "g1ic130oc90ih9oh9kh1sh1dh0ph0",
    "1x1 stride": "g1ic128oc100ih15oh8kh1sh2dh0ph0",
    "1x1 groups": "g2ic66oc140ih8oh8kh1sh1dh0ph0",
    "one pixel": "g1ic700oc50ih1oh1kh1sh1dh0ph0",
}
GEOMETRIES |= ONE_TAP


def problem_of(geometry, order="nchw", dtype=np.float32):
    return Conv2dProblem.parse(GEOMETRIES[geometry], n=2, order=order, dtype=np.dtype(dtype))


def arrays(p):
    rng = np.random.default_rng(3)
    x, weight, y = (rng.standard_normal(s).astype(p.dtype) for s in
                    (p.x_shape, p.weight_shape, p.y_shape))
    if p.order == "nhwc":
        x, y = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
                for a in (x, y))
    return x, weight, y


def aligned(nbytes):
    memory = np.empty(nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start:start + nbytes]


@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize("direction", ["forward", "backward_data"])
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "bf16x6"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_packed_weights_give_the_same_bits(geometry, algorithm, direction, order):
    from engine._library import ffi, lib

    p = problem_of(geometry, order)
    if algorithm == "bf16x6" and (conv2d_c.refusal(p, direction, algorithm)
                                  or geometry not in ONE_TAP):
        pytest.skip("no tiles, or no form of their own")
    x, weight, dy = arrays(p)
    result = np.empty_like(dy if direction == "forward" else x)
    expected = np.empty_like(result)
    images, gradients = (x, result) if direction == "forward" else (result, dy)
    block = conv2d_c._describe(p, algorithm, images, weight, gradients)
    which = conv2d_c._DIRECTION[direction]
    nbytes = lib.engine_conv2d_packed_bytes(block, which)
    if geometry in ONE_TAP and algorithm == "direct" and (order == "nchw" or p.oh == 1):
        assert nbytes == 0  # used as it is
        return
    assert nbytes > 0
    packed = aligned(nbytes)
    lib.engine_conv2d_pack_weight(block, which, conv2d_c.address(weight), ffi.from_buffer(packed))
    block.packed = 1
    work = ffi.from_buffer(aligned(lib.engine_conv2d_workspace(block, which)))
    if direction == "forward":
        conv2d_c.forward(p, algorithm, x, weight, None, expected)
        lib.engine_conv2d_forward(block, conv2d_c.address(x), ffi.from_buffer(packed), ffi.NULL,
                                  conv2d_c.address(result), work)
    else:
        conv2d_c.backward_data(p, algorithm, dy, weight, expected)
        lib.engine_conv2d_backward_data(block, conv2d_c.address(dy), ffi.from_buffer(packed),
                                        conv2d_c.address(result), work)
    assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.float16])
@pytest.mark.parametrize("algorithm", [None, "direct", "im2col", "winograd"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_plan_gives_the_bits_of_a_call(geometry, algorithm, dtype):
    p = problem_of(geometry, dtype=dtype)
    if algorithm == "winograd" and conv2d_c.refusal(p, "forward", algorithm):
        pytest.skip("no winograd here")
    rng = np.random.default_rng(5)
    x, weight = (rng.integers(-3, 4, s).astype(dtype) for s in (p.x_shape, p.weight_shape))
    bias = np.arange(p.oc).astype(dtype)
    options = {"stride": p.stride_h, "padding": p.pad_t, "dilation": p.dil_h, "groups": p.g,
               "activation": "relu", "algorithm": algorithm, "backend": "c"}
    plan = engine.plan_conv2d(x.shape, weight, bias, dtype=x.dtype, **options)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    gaps = np.zeros((*x.shape[:3], 2 * x.shape[3]), dtype)[..., ::2]
    gaps[...] = x
    for image in (x, last, gaps, x, last):
        expected = engine.conv2d(image, weight, bias, **options)
        np.testing.assert_array_equal(plan(image), expected)
        with engine.num_threads(2):
            np.testing.assert_array_equal(plan(image), expected)
