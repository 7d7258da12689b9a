"""Every message that a wrong call can raise: operation, argument, what it is, what it must be."""

import os
import subprocess
import sys

import numpy as np
import pytest

import engine
from engine import _config

X = np.zeros((2, 8, 6, 5), np.float32)
W = np.zeros((4, 8, 3, 3), np.float32)
B = np.zeros(4, np.float32)
DY = np.zeros((2, 4, 4, 3), np.float32)  # of conv2d(X, W)
Y = np.zeros((2, 8, 3, 2), np.float32)  # of a pooling of X by 2
I = np.zeros((2, 8, 3, 2), np.int64)  # noqa: E741
PLANE = np.zeros((6, 5), np.float32)

DTYPES = "expected float16, float32, float64, bfloat16 or an integer dtype"


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    return raw[1:].view(array.dtype).reshape(array.shape)


def conv(*args, **options):
    return engine.conv2d, args, options


def pool(*args, **options):
    return engine.max_pool2d, args, options


def call(name, *args, **options):
    return getattr(engine, name), args, options


TABLE = [
    # ---- arrays: types and dtypes
    (conv(X.astype(bool), W), TypeError, f"conv2d: `x` has dtype bool, {DTYPES}"),
    (conv(X, W.astype(complex)), TypeError, f"conv2d: `weight` has dtype complex128, {DTYPES}"),
    (conv(X, W, B.astype(np.complex64)), TypeError,
     f"conv2d: `bias` has dtype complex64, {DTYPES}"),
    (conv(X.astype(np.longdouble), W), TypeError,
     f"conv2d: `x` has dtype {np.dtype(np.longdouble)}, {DTYPES}"),
    (conv(X.astype("m8[s]"), W), TypeError, f"conv2d: `x` has dtype timedelta64[s], {DTYPES}"),
    (conv(None, W), TypeError, f"conv2d: `x` has dtype object, {DTYPES}"),
    (conv("image.png", W), TypeError, f"conv2d: `x` has dtype <U9, {DTYPES}"),
    (conv([[1, 2], [3]], W), ValueError,
     "conv2d: `x` cannot be made an array, expected an array: setting an array element with a "
     "sequence. The requested array has an inhomogeneous shape after 1 dimensions. The detected "
     "shape was (2,) + inhomogeneous part."),
    (conv(X.astype(int), W.astype(int), B), TypeError,
     "conv2d: `bias` has dtype float32, expected one that casts to int64 (the dtype of the "
     "result)"),
    (pool(X.astype(bool), 2), TypeError, f"max_pool2d: `x` has dtype bool, {DTYPES}"),
    (call("max_unpool2d", Y, Y, 2), TypeError,
     "max_unpool2d: `indices` has dtype float32, expected an integer dtype"),

    # ---- arrays: shapes
    (conv(X[None], W), ValueError,
     "conv2d: `x` has 5 dimensions, expected 4 (N, C, H, W), 3 (C, H, W) or 2 (H, W)"),
    (conv(X[0, 0, 0], W, layout="NHWC"), ValueError,
     "conv2d: `x` has 1 dimensions, expected 4 (N, H, W, C), 3 (H, W, C) or 2 (H, W)"),
    (conv(X, W[0]), ValueError,
     "conv2d: `weight` has 3 dimensions, expected 4 (out, in/groups, kh, kw) (x has 4)"),
    (conv(PLANE, W), ValueError,
     "conv2d: `weight` has 4 dimensions, expected 2 (kh, kw) (x has 2)"),
    (call("conv_transpose2d", X, W[0, 0]), ValueError,
     "conv_transpose2d: `weight` has 2 dimensions, expected 4 (in, out/groups, kh, kw) (x has 4)"),
    (conv(X[:, :0], W), ValueError,
     "conv2d: `x` has a size of 0 in (0, 6, 5), expected at least 1"),
    (conv(X, W[:0]), ValueError,
     "conv2d: `weight` has a size of 0 in (0, 8, 3, 3), expected at least 1"),
    (conv(X, W[:, :3], groups=2), ValueError,
     "conv2d: `weight` has 3 input channels, expected 4 (x has 8 channels, groups=2)"),
    (conv(X.transpose(0, 2, 3, 1), W), ValueError,
     "conv2d: `weight` has 8 input channels, expected 6 (x has 6 channels, groups=1)"),
    (conv(X, W, groups=3), ValueError,
     "conv2d: `x` has 8 channels, expected a multiple of groups=3"),
    (conv(X, W[:3, :4], groups=2), ValueError,
     "conv2d: `weight` has 3 output channels, expected a multiple of groups=2"),
    (conv(X, W, B[:3]), ValueError, "conv2d: `bias` has shape (3,), expected (4,)"),
    (conv(X, W, 0.5), ValueError, "conv2d: `bias` has shape (), expected (4,)"),
    (conv(X, W[:, :, [0] * 7]), ValueError,
     "conv2d: `weight` spans 7 along the height, expected at most 6 (x has 6, padding adds 0)"),
    (conv(X, W, dilation=(1, 4), padding=((0, 0), (1, 2))), ValueError,
     "conv2d: `weight` spans 9 along the width, expected at most 8 (x has 5, padding adds 3)"),
    (pool(X, 7, padding="valid"), ValueError,
     "max_pool2d: `kernel_size` spans 7 along the height, expected at most 6 (x has 6, padding "
     "adds 0)"),
    (call("conv_transpose2d", X, W), ValueError,
     "conv_transpose2d: `weight` has 4 input channels, expected 8 (x has 8 channels)"),
    (call("conv_transpose2d", X, W.transpose(1, 0, 2, 3), groups=3), ValueError,
     "conv_transpose2d: `x` has 8 channels, expected a multiple of groups=3"),
    (call("conv_transpose2d", X, W.transpose(1, 0, 2, 3), padding=4), ValueError,
     "conv_transpose2d: `padding` takes 8 away along the height, expected at most 7 (the result "
     "has 8 without it)"),
    (call("conv_transpose2d", X, W.transpose(1, 0, 2, 3), stride=2, output_padding=(0, 2)),
     ValueError, "conv_transpose2d: `output_padding` is 2 along the width, expected less than 2 "
     "(the larger of stride and dilation)"),
    (call("max_unpool2d", Y, I, 2, padding=4), ValueError,
     "max_unpool2d: `padding` is (4, 4), expected less (the result would be -2 x -4)"),
    (call("max_unpool2d", Y, I[:1], 2), ValueError,
     "max_unpool2d: `indices` has shape (1, 8, 3, 2), expected (2, 8, 3, 2)"),
    (call("max_unpool2d", Y, I + 24, 2), ValueError,
     "max_unpool2d: `indices` lie between 24 and 24, expected 0 to 23 (the plane has 24 elements)"),

    # ---- gradients
    (call("conv2d_backward", DY[:1], X, W), ValueError,
     "conv2d_backward: `dy` has shape (1, 4, 4, 3), expected (2, 4, 4, 3)"),
    (call("conv2d_backward", DY[0], X, W), ValueError,
     "conv2d_backward: `dy` has 3 dimensions, expected 4 (as x)"),
    (call("conv2d_backward", DY, X, W, wrt=("x", "y")), ValueError,
     'conv2d_backward: `wrt` is "y", expected one of "x", "weight", "bias"'),
    (call("conv2d_backward", DY, X, W, wrt=1), TypeError,
     "conv2d_backward: `wrt` is 1 (int), expected a tuple of names"),
    (call("conv2d_backward_data", DY, W, (2, 8, 7, 5)), ValueError,
     "conv2d_backward_data: `dy` has shape (2, 4, 4, 3), expected (2, 4, 5, 3)"),
    (call("conv2d_backward_data", DY, W, (8, 6, 5)), ValueError,
     "conv2d_backward_data: `x_shape` has 3 entries, expected 4"),
    (call("conv2d_backward_data", DY, W, 4), TypeError,
     "conv2d_backward_data: `x_shape` is 4 (int), expected a tuple of integers"),
    (call("conv2d_backward_data", DY, W, (2, 8, 6.0, 5)), TypeError,
     "conv2d_backward_data: `x_shape` is 6.0 (float), expected an integer"),
    (call("conv2d_backward_weight", DY, X, (4, 8, 3, 2)), ValueError,
     "conv2d_backward_weight: `dy` has shape (2, 4, 4, 3), expected (2, 4, 4, 4)"),
    (call("conv2d_backward_weight", DY, X, (4, 8, 0, 3)), ValueError,
     "conv2d_backward_weight: `weight_shape` has a size of 0 in (4, 8, 0, 3), expected at least 1"),
    (call("conv2d_backward_weight", DY, X, (3, 3)), ValueError,
     "conv2d_backward_weight: `weight_shape` has 2 entries, expected 4"),
    (call("conv_transpose2d_backward", DY, X, W.transpose(1, 0, 2, 3)), ValueError,
     "conv_transpose2d_backward: `dy` has shape (2, 4, 4, 3), expected (2, 4, 8, 7)"),
    (call("max_pool2d_backward", X, X, 2), ValueError,
     "max_pool2d_backward: `dy` has shape (2, 8, 6, 5), expected (2, 8, 3, 2)"),
    (call("max_pool2d_backward", Y, X.shape, 2), TypeError,
     "max_pool2d_backward: `x` is a shape, expected an array (or give `indices`)"),
    (call("lp_pool2d_backward", Y, X.shape, 2), TypeError,
     "lp_pool2d_backward: `x` is a shape, expected an array"),
    (call("max_pool2d_backward", Y, X, 2, indices=I + 0.0), TypeError,
     "max_pool2d_backward: `indices` has dtype float64, expected an integer dtype"),
    (call("max_pool2d_backward", Y, X, 2, indices=I[0]), ValueError,
     "max_pool2d_backward: `indices` has shape (8, 3, 2), expected (2, 8, 3, 2)"),
    (call("min_pool2d_backward", Y, X, 2, indices=I - 1), ValueError,
     "min_pool2d_backward: `indices` lie between -1 and -1, expected 0 to 29 (the plane has 30 "
     "elements)"),
    (call("max_unpool2d_backward", Y, Y, I, 2), ValueError,
     "max_unpool2d_backward: `dy` has shape (2, 8, 3, 2), expected (2, 8, 6, 4)"),

    # ---- numbers
    (conv(X, W, stride=0), ValueError, "conv2d: `stride` is 0, expected at least 1"),
    (conv(X, W, stride=1.5), TypeError,
     "conv2d: `stride` is 1.5 (float), expected an integer or 2 of them"),
    (conv(X, W, stride=True), TypeError,
     "conv2d: `stride` is True (bool), expected an integer or 2 of them"),
    (conv(X, W, stride=(1, 2.0)), TypeError,
     "conv2d: `stride` is 2.0 (float), expected an integer"),
    (conv(X, W, stride=(1, 2, 3)), ValueError, "conv2d: `stride` has 3 entries, expected 2"),
    (conv(X, W, stride=2**31), ValueError,
     "conv2d: `stride` is 2147483648, expected at most 2147483647"),
    (conv(X, W, dilation=(0, 1)), ValueError, "conv2d: `dilation` is 0, expected at least 1"),
    (conv(X, W, dilation=None), TypeError,
     "conv2d: `dilation` is None (NoneType), expected an integer or 2 of them"),
    (conv(X, W, groups=0), ValueError, "conv2d: `groups` is 0, expected at least 1"),
    (conv(X, W, groups=(1, 1)), TypeError,
     "conv2d: `groups` is (1, 1) (tuple), expected an integer"),
    (conv(X, W, padding=-1), ValueError, "conv2d: `padding` is -1, expected at least 0"),
    (conv(X, W, padding=((0, 0), (0, -2))), ValueError,
     "conv2d: `padding` is -2, expected at least 0"),
    (conv(X, W, padding=((0, 0), (0, 0), (0, 0))), ValueError,
     "conv2d: `padding` has 3 entries, expected 2"),
    (conv(X, W, padding="SAME"), ValueError,
     'conv2d: `padding` is "SAME", expected one of "valid", "same", "same_lower", "full"'),
    (conv(X, W, padding=2**31 - 1), ValueError,
     "conv2d: `y` would have shape (2, 4, 4294967298, 4294967297), 590295810771022512192 bytes, "
     "expected at most 9223372036854775807"),
    (conv(X, W, padding=2**31 - 1, padding_mode="edge"), ValueError,
     "conv2d: `x` would have shape (2, 8, 4294967300, 4294967299), 1180591622641556652800 bytes, "
     "expected at most 9223372036854775807"),
    (pool(X, 0), ValueError, "max_pool2d: `kernel_size` is 0, expected at least 1"),
    (pool(X, None), TypeError,
     "max_pool2d: `kernel_size` is None (NoneType), expected an integer or 2 of them"),
    (pool(X, 2, stride=-1), ValueError, "max_pool2d: `stride` is -1, expected at least 1"),
    (pool(X, 2, padding=2), ValueError,
     "max_pool2d: `padding` leaves a window along the height wholly outside x, expected every "
     "window to hold an element of x (x has 6, the window starts at -2 and spans 2)"),
    (call("avg_pool2d", X, 2, stride=3, padding=((0, 0), (0, 6))), ValueError,
     "avg_pool2d: `padding` leaves a window along the width wholly outside x, expected every "
     "window to hold an element of x (x has 5, the window starts at 9 and spans 2)"),
    (call("lp_pool2d", X[:, :, :1], 2, stride=1, dilation=2, padding=1), ValueError,
     "lp_pool2d: `padding` leaves a window along the height wholly outside x, expected every "
     "window to hold an element of x (x has 1, the window starts at -1 and spans 3)"),
    (call("lp_pool2d", X, 2, p=0.5), ValueError,
     "lp_pool2d: `p` is 0.5, expected a finite number of at least 1"),
    (call("global_lp_pool2d", X, p=float("inf")), ValueError,
     "global_lp_pool2d: `p` is inf, expected a finite number of at least 1"),
    (call("lp_pool2d", X, 2, p="2"), TypeError, "lp_pool2d: `p` is '2' (str), expected a number"),
    (call("adaptive_max_pool2d", X, (0, 1)), ValueError,
     "adaptive_max_pool2d: `output_size` is 0, expected at least 1"),
    (call("adaptive_avg_pool2d", X, None), TypeError,
     "adaptive_avg_pool2d: `output_size` is None (NoneType), expected an integer or 2 of them"),
    (call("set_num_threads", 0), ValueError,
     "set_num_threads: `threads` is 0, expected at least 1"),
    (call("set_num_threads", 2.0), TypeError,
     "set_num_threads: `threads` is 2.0 (float), expected an integer"),

    # ---- names and flags
    (conv(X, W, layout="CHWN"), ValueError,
     'conv2d: `layout` is "CHWN", expected one of "NCHW", "NHWC"'),
    (conv(X, W, layout=None), TypeError, "conv2d: `layout` is None (NoneType), expected a string"),
    (conv(X, W, padding_mode="zeros"), ValueError,
     'conv2d: `padding_mode` is "zeros", expected one of "constant", "reflect", "edge", "wrap"'),
    (conv(X, W, activation="gelu"), ValueError,
     'conv2d: `activation` is "gelu", expected one of "relu", "relu6", "tanh", "sigmoid"'),
    (conv(X, W, activation=np.tanh), TypeError,
     "conv2d: `activation` is <ufunc 'tanh'> (ufunc), expected a string"),
    (conv(X.astype(int), W.astype(int), activation="tanh"), TypeError,
     'conv2d: `activation` is "tanh", expected "relu" or "relu6" (the result has dtype int64)'),
    (conv(X, W, algorithm="fft"), ValueError,
     'conv2d: `algorithm` is "fft", expected one of "direct", "im2col", "winograd", "bf16x6"'),
    (conv(X, W, backend="gpu"), ValueError,
     'conv2d: `backend` is "gpu", expected one of "c", "numba", "numpy", "cuda"'),
    (conv(X, W, algorithm="direct", backend="numpy"), ValueError,
     "conv2d: no backend can run conv2d:f32:nchw:mb2g1ic8oc4ih6iw5oh4ow3kh3sh1dh0ph0 forward: "
     'c/direct: backend="numpy" was asked for; numba/direct: backend="numpy" was asked for; '
     'numpy/im2col: algorithm="direct" was asked for; numpy/direct: it has no such algorithm'),
    (pool(X, 20, ceil_mode=True, stride=3), ValueError,
     "max_pool2d: `kernel_size` spans 20 along the height, expected at most 8 (x has 6, "
     "padding adds 0, ceil_mode 2)"),
    (pool(X, 2, ceil_mode=1), TypeError,
     "max_pool2d: `ceil_mode` is 1 (int), expected True or False"),
    (pool(X, 2, return_indices=None), TypeError,
     "max_pool2d: `return_indices` is None (NoneType), expected True or False"),
    (call("avg_pool2d", X, 2, count_include_pad=0), TypeError,
     "avg_pool2d: `count_include_pad` is 0 (int), expected True or False"),
    (call("explain", "conv9d", X, W), ValueError, 'explain: `op` is "conv9d", expected one of '),
    (call("explain", 3), TypeError, "explain: `op` is 3 (int), expected a string"),

    # ---- out
    (conv(X, W, out=DY.tolist()), TypeError, "conv2d: `out` is [[[[0.0, 0.0, 0.0], "),
    (conv(X, W, out=DY.astype(float)), TypeError,
     "conv2d: `out` has dtype float64, expected float32"),
    (conv(X, W, out=DY.astype(">f4")), TypeError, "conv2d: `out` has dtype >f4, expected float32"),
    (conv(X, W, out=DY[:1]), ValueError,
     "conv2d: `out` has shape (1, 4, 4, 3), expected (2, 4, 4, 3)"),
    (conv(X, W, out=frozen(DY)), ValueError,
     "conv2d: `out` is read-only, expected a writeable array"),
    (conv(X, W, out=misaligned(DY)), ValueError,
     "conv2d: `out` is not aligned, expected an aligned array"),
    (conv(X, W, out=np.lib.stride_tricks.as_strided(DY, DY.shape, (0, 48, 12, 4))), ValueError,
     "conv2d: `out` has elements that share memory, expected separate ones"),
    (conv(X, W, out=X[:, :4, 1:5, 1:4]), ValueError,
     "conv2d: `out` overlaps `x`, expected memory of its own"),
    (conv(X, W, B, out=np.lib.stride_tricks.as_strided(B, (2, 4, 4, 3), (192, 48, 12, 4))),
     ValueError, "conv2d: `out` overlaps `bias`, expected memory of its own"),
    (pool(X, 2, out=X[:, :, :3, :2]), ValueError,
     "max_pool2d: `out` overlaps `x`, expected memory of its own"),
    (call("max_unpool2d", Y, I, 2, out=X), ValueError,
     "max_unpool2d: `out` has shape (2, 8, 6, 5), expected (2, 8, 6, 4)"),

    # ---- lines and volumes
    (call("conv1d", X, W), ValueError,
     "conv1d: `x` has 4 dimensions, expected 3 (N, C, L), 2 (C, L) or 1 (L)"),
    (call("conv1d", X[0], W), ValueError,
     "conv1d: `weight` has 4 dimensions, expected 3 (out, in/groups, k) (x has 3)"),
    (call("conv1d", X[0], W[0], stride=1.5), TypeError,
     "conv1d: `stride` is 1.5 (float), expected an integer"),
    (call("conv1d", X[0], W[0], layout="NCHW"), ValueError,
     'conv1d: `layout` is "NCHW", expected one of "NCL", "NLC"'),
    (call("conv3d", X[None], W[None], stride=(1, 2)), ValueError,
     "conv3d: `stride` has 2 entries, expected 3"),
    (call("max_pool3d", X, (9, 1, 1)), ValueError,
     "max_pool3d: `kernel_size` spans 9 along the depth, expected at most 8 (x has 8, padding adds "
     "0)"),
    (call("conv_transpose1d_backward_data", DY[0], W[0], (4, 4, 3)), ValueError,
     "conv_transpose1d_backward_data: `weight` has 8 input channels, expected 4 (x has 4 "
     "channels)"),

    # ---- plans
    (call("plan_conv2d", 4, W), TypeError,
     "plan_conv2d: `x_shape` is 4 (int), expected a tuple of integers"),
    (call("plan_conv2d", X.shape, W, dtype="complex64"), TypeError,
     f"plan_conv2d: `dtype` is complex64, {DTYPES}"),
    (call("plan_conv2d", X.shape, W, dtype="no such"), TypeError,
     "plan_conv2d: `dtype` is 'no such' (str), expected a dtype"),
    (call("plan_conv2d", (2, 8, 2**31 - 1, 2**31 - 1), W), ValueError,
     "plan_conv2d: `x` would have shape (2, 8, 2147483647, 2147483647), 295147904904474918976 "
     "bytes, expected at most 9223372036854775807"),
    ((engine.plan_conv2d(X.shape, W), (X[:1],), {}), ValueError,
     "plan_conv2d: `x` has shape (1, 8, 6, 5), expected (2, 8, 6, 5)"),
    ((engine.plan_conv2d(X.shape, W), (X.astype(float),), {}), TypeError,
     "plan_conv2d: `x` has dtype float64, expected float32"),
    ((engine.plan_conv2d(X.shape, W), (X, DY[:1]), {}), ValueError,
     "plan_conv2d: `out` has shape (1, 4, 4, 3), expected (2, 4, 4, 3)"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), TABLE, ids=[row[2][:60] for row in TABLE])
def test_message(wrong, kind, message):
    """It is raised each time: a call like an earlier, right one is no exception."""
    function, args, options = wrong
    for _ in range(2):
        with pytest.raises(kind) as error:
            function(*args, **options)
        assert type(error.value) is kind
        text = str(error.value)
        assert text == message or (message.endswith((" ", "of ")) and text.startswith(message))


def test_every_message_names_operation_and_argument():
    for _, _, message in TABLE:
        op, argument = message.split(": ", 1)
        assert op in engine.__all__
        assert argument.startswith(("`", "no backend can run "))


def test_use_backend():
    with pytest.raises(ValueError, match='use_backend: `backend` is "gpu", expected one of "c", '
                                         '"numba", "numpy", "cuda"'):
        with engine.use_backend("gpu"):
            pass


def test_a_right_call_does_not_let_a_wrong_one_pass():
    """1 == 1.0 == True, and yet only one of them is a stride."""
    image, kernel = np.ones((3, 3)), np.ones((2, 2))
    for _ in range(3):
        engine.conv2d(image, kernel, stride=1, padding=(0, 0))
        for stride in (1.0, True, np.float64(1), (1, 1.0), (True, 1)):
            with pytest.raises(TypeError):
                engine.conv2d(image, kernel, stride=stride, padding=(0, 0))
    engine.conv2d(image, kernel, stride=np.array([1, 1]))
    with pytest.raises(TypeError):  # the same bytes
        engine.conv2d(image, kernel, stride=np.array([1, 1]).view(float))


def test_nothing_is_written_where_it_must_not():
    """A refused `out` keeps its contents, and so do inputs."""
    x, out = np.arange(240.0).reshape(2, 8, 5, 3), np.full((2, 8, 2, 2), 7.0)
    before = x.copy()
    with pytest.raises(ValueError):
        engine.max_pool2d(x, 2, out=out)
    assert (out == 7).all() and np.array_equal(x, before)


# ---- memory ------------------------------------------------------------------------------------

@pytest.mark.parametrize("backend", ["numpy", "c"])
def test_workspace_limit(backend, monkeypatch):
    x = np.zeros((1, 64, 200, 200), np.float32)
    weight = np.zeros((64, 64, 3, 3), np.float32)
    monkeypatch.setattr(_config, "workspace_limit", 1000)
    if backend not in [each.backend for each in engine.explain("conv2d", x, weight)[0].candidates
                       if each.refusal is None]:
        pytest.skip("there is no such backend")
    with pytest.raises(MemoryError, match=r"^engine: scratch needs \d+ bytes, expected at most "
                                          r"1000 \(ENGINE_WORKSPACE_LIMIT\)$"):
        engine.conv2d(x, weight, algorithm="im2col", backend=backend)


def test_padding_counts_as_scratch(monkeypatch):
    monkeypatch.setattr(_config, "workspace_limit", 1000)
    with pytest.raises(MemoryError, match="engine: scratch needs 2048 bytes"):
        engine.conv2d(np.zeros((8, 8)), np.zeros((3, 3)), padding=4, padding_mode="wrap")


def test_an_output_larger_than_the_memory():
    with pytest.raises(MemoryError, match="^engine: an output needs 17592202821636 bytes, expected "
                                          r"at most \d+ \(the memory of this machine\)$"):
        engine.conv2d(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32), padding=2**20)


# ---- the environment ---------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "value", "expected"), [
    ("ENGINE_BACKEND", "gpu", "one of c, numba, numpy, cuda"),
    ("ENGINE_NUM_THREADS", "many", "a positive integer"),
    ("ENGINE_NUM_THREADS", "0", "a positive integer"),
    ("ENGINE_WORKSPACE_LIMIT", "lots", "a number of bytes, as 2000000, 512M or 2GiB"),
])
def test_environment(name, value, expected):
    done = in_environment("import engine", **{name: value})
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (f'ValueError: engine: {name} is "{value}", '
                                            f"expected {expected}")


def test_environment_that_is_right():
    done = in_environment(
        "import engine, numpy; engine.conv2d(numpy.ones((3, 3)), numpy.ones((2, 2)));"
        "from engine import _config, _plan; print(engine.get_num_threads(), "
        "_plan.last_run().backend, _config.workspace_limit)",
        ENGINE_NUM_THREADS="3", ENGINE_BACKEND="numpy", ENGINE_WORKSPACE_LIMIT="64MiB",
        ENGINE_VERBOSE="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "numpy", str(64 << 20)]
    assert done.stderr.startswith("engine: conv2d:f64:nchw:mb1g1ic1oc1ih3oh2kh2sh1dh0ph0 forward "
                                  "numpy/im2col ")
    assert done.stderr.endswith(" ms\n")


def in_environment(code, **variables):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, **variables})
