"""Winograd's convolution in C: its matrices derived, its rounding measured, its blocks crossed."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import variants

import engine
from engine import _library, kernels
from engine._problem import Conv2dProblem

HEADER = Path(__file__).parents[1] / "csrc" / "winograd_transform.h"
POINTS = [Fraction(0), *(sign * p for p in (Fraction(3, 4), Fraction(3, 2)) for sign in (1, -1))]
ERROR = 4e-6  # of float32, over the largest value of the result: about what direct sums reach

pytestmark = pytest.mark.skipif(_library.lib is None, reason="the C library is not built")


# ---- the matrices ------------------------------------------------------------------------------

def with_roots(roots):
    """The coefficients, lowest first, of the polynomial with these roots."""
    poly = [Fraction(1)]
    for root in roots:
        poly = [high - root * low for high, low in zip([0, *poly], [*poly, 0], strict=True)]
    return poly


def cook_toom(outputs, taps):
    """A^T, G and B^T of F(outputs, taps): interpolation at some of POINTS and at infinity, with
    the G of all POINTS."""
    points = POINTS[:outputs + taps - 2]
    others = [[q for q in points if q != p] for p in points]
    norm = [product_of_distances(p, POINTS) for p in points]
    scale = [n / product_of_distances(p, points) for p, n in zip(points, norm, strict=True)]
    last = [[0] * (size - 1) + [1] for size in (outputs, taps)]
    a = [[p**i for i in range(outputs)] for p in points] + last[:1]
    g = [[p**i / n for i in range(taps)] for p, n in zip(points, norm, strict=True)] + last[1:]
    b = [[s * c for c in (*with_roots(rest), 0)] for s, rest in zip(scale, others, strict=True)]
    return np.array(a).T, np.array(g), np.array([*b, with_roots(points)])


def product_of_distances(p, points):
    return np.prod([p - q for q in points if q != p])


def matrix_in_c(function, size, result):
    """What a function of the header computes, exactly: its C is evaluated on unit vectors."""
    source = HEADER.read_text()
    names = dict(re.findall(r"#define (\w+) \(\(elem\)(\(.*\))\)", source))
    head, body = re.search(rf"void {function}\((.*?)\) {{\n(.*?)\n}}", source, re.S).groups()
    argument = re.findall(r"vec (\w+)\[", head)
    body = re.sub(r"\(elem\)\((-?\d+)\. / (\d+)\)", r"Fraction(\1, \2)", body)
    body = re.sub(r"\bvec ((?:[^;(]|\([^)]*\))*);",
                  lambda m: re.sub(r",(?![^(]*\))", ";", m[1]) + ";", body)
    scope = {"Fraction": Fraction}
    for name, value in names.items():
        scope[name] = Fraction(*map(int, re.findall(r"\d+", value)))
    columns = []
    for k in range(size):
        scope[argument[0]] = [Fraction(int(i == k)) for i in range(max(size, 6))]
        scope[argument[-1]] = scope[argument[0]] if len(argument) == 1 else [None] * result
        exec("\n".join(line.strip() for line in re.split(r"[;\n]", body)), scope)
        columns.append(scope[argument[-1]][:result])
    return np.array(columns).T


@pytest.mark.parametrize(("outputs", "taps"), [(4, 3), (3, 3), (2, 3), (1, 3), (3, 4)])
def test_interpolation_gives_a_correlation(outputs, taps):
    a, g, b = cook_toom(outputs, taps)
    product = np.einsum("ie,ej,ek->ijk", a, g, b)
    for i, j, k in np.ndindex(product.shape):
        assert product[i, j, k] == (i + j == k)


@pytest.mark.parametrize(("function", "outputs", "which"), [
    ("winograd_input", 4, 2), ("winograd_weight", 4, 1), ("winograd_output", 4, 0),
    ("winograd_gradient", 3, 1), ("winograd_weight_gradient", 3, 0)])
def test_matrices(function, outputs, which):
    matrix = cook_toom(outputs, 7 - outputs)[which]
    np.testing.assert_array_equal(matrix_in_c(function, matrix.shape[1], matrix.shape[0]), matrix)


@pytest.mark.parametrize("outputs", [3, 2, 1])
def test_matrices_of_tiles_at_the_edge(outputs):
    """They use the first points and infinity, which keep their places."""
    a, _, b = cook_toom(outputs, 3)
    places = [*range(outputs + 1), 5]
    inputs = matrix_in_c(f"winograd_input_{outputs}", outputs + 2, 6)
    results = matrix_in_c(f"winograd_output_{outputs}", 6, outputs)
    np.testing.assert_array_equal(inputs[places], b)
    np.testing.assert_array_equal(results[:, places], a)


# ---- rounding and blocks -----------------------------------------------------------------------

GEOMETRIES = [  # channels within and across chunks and blocks, few tiles and many, edges, groups
    "mb1g1ic64oc64ih14oh14kh3ph1", "mb3g1ic130oc70ih9iw30oh9ow30kh3ph1",
    "mb1g1ic300oc90ih7oh7kh3ph1", "mb12g1ic20oc100ih13oh13kh3ph1",
    "mb2g3ic60oc51ih18iw11oh16ow9kh3ph0", "mb1g1ic17oc33ih10iw70oh12ow72kh3ph2",
    "mb40g1ic36oc16ih6oh6kh3ph1", "mb2g1ic256oc320ih12oh12kh3ph1",
]
LEVELS = _library.isa_levels() if _library.lib is not None else []


def all_directions(x, weight, dy, **options):
    return (engine.conv2d(x, weight, **options),
            engine.conv2d_backward_data(dy, weight, x.shape, **options),
            engine.conv2d_backward_weight(dy, x, weight.shape, **options))


def numbers(problem):
    rng = np.random.default_rng(7)
    return [rng.standard_normal(shape).astype(problem.dtype) for shape in
            (problem.x_shape, problem.weight_shape, problem.y_shape)]


def in_order(array, order):
    return array if order == "nchw" else array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_as_exact_as_direct_sums(geometry, dtype):
    problem = Conv2dProblem.parse(geometry, dtype=np.dtype(dtype))
    x, weight, dy = numbers(problem)
    options = {"padding": problem.pad_t, "groups": problem.g}
    truth = all_directions(*(a.astype(np.float64) for a in (x, weight, dy)), **options,
                           algorithm="im2col", backend="numpy")
    limit = ERROR * np.finfo(dtype).eps / np.finfo("float32").eps
    for level in LEVELS:
        for order in ("nchw", "nhwc"):
            with _library.isa(level):
                found = all_directions(in_order(x, order), weight, in_order(dy, order), **options,
                                       algorithm="winograd", backend="c")
            for name, one, other in zip(("y", "dx", "dweight"), found, truth, strict=True):
                error = np.abs(one - other).max() / np.abs(other).max()
                assert error < limit, f"{name} at level {level}, {order}"


@pytest.mark.parametrize("geometry", ["mb60g1ic48oc80ih12oh12kh3ph1",
                                      "mb9g1ic70oc64ih31oh31kh3ph1",
                                      "mb5g1ic96oc144ih7oh7kh3ph1"])
def test_same_bits_whatever_shares_the_weights(geometry):
    """One image has its weights transformed as they are used, many have them packed before."""
    problem = Conv2dProblem.parse(geometry)
    x, weight, dy = numbers(problem)
    options = {"padding": problem.pad_t, "algorithm": "winograd", "backend": "c"}
    y, dx, dweight = all_directions(x, weight, dy, **options)
    for count in (1, 2, 3, 8):
        with engine.num_threads(count):
            again = all_directions(x, weight, dy, **options)
            alone = all_directions(x[-1:], weight, dy[-1:], **options)
        for one, other in zip(again, (y, dx, dweight), strict=True):
            assert one.tobytes() == other.tobytes()
        assert alone[0].tobytes() == y[-1:].tobytes()
        assert alone[1].tobytes() == dx[-1:].tobytes()


def test_relu_and_bias_at_every_edge():
    rng = np.random.default_rng(3)
    x, weight = rng.standard_normal((2, 20, 11, 10)), rng.standard_normal((21, 20, 3, 3))
    bias = rng.standard_normal(21)
    plain = engine.conv2d(x, weight, padding=1, algorithm="im2col", backend="numpy")
    y = engine.conv2d(x, weight, bias, padding=1, activation="relu", algorithm="winograd",
                      backend="c")
    np.testing.assert_allclose(y, np.maximum(plain + bias[:, None, None], 0), atol=1e-11)


# ---- packed weights ----------------------------------------------------------------------------

@pytest.mark.parametrize("direction", ["forward", "backward_data"])
@pytest.mark.parametrize("geometry", GEOMETRIES[:6])
def test_packed_weights_give_the_same_bits(geometry, direction):
    from engine._library import ffi, lib
    from engine.kernels import conv2d_c

    problem = Conv2dProblem.parse(geometry)
    x, weight, dy = numbers(problem)
    given, result = (x, np.empty_like(dy)) if direction == "forward" else (dy, np.empty_like(x))
    images, gradients = (x, result) if direction == "forward" else (result, dy)
    p = conv2d_c._describe(problem, "winograd", images, weight, gradients)
    which = conv2d_c._DIRECTION[direction]
    expected = np.empty_like(result)
    if direction == "forward":
        conv2d_c.forward(problem, "winograd", given, weight, None, expected)
    else:
        conv2d_c.backward_data(problem, "winograd", given, weight, expected)

    nbytes = lib.engine_conv2d_packed_bytes(p, which)
    if not nbytes:
        pytest.skip("so few tiles take weights as they are")
    packed = aligned(nbytes)
    pointer = ffi.from_buffer
    lib.engine_conv2d_pack_weight(p, which, pointer(weight), pointer(packed))
    p.packed = 1
    work = aligned(lib.engine_conv2d_workspace(p, which))
    if direction == "forward":
        lib.engine_conv2d_forward(p, pointer(given), pointer(packed), ffi.NULL, pointer(result),
                                  pointer(work))
    else:
        lib.engine_conv2d_backward_data(p, pointer(given), pointer(packed), pointer(result),
                                        pointer(work))
    assert result.tobytes() == expected.tobytes()


def aligned(nbytes):
    memory = np.empty(nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start:start + nbytes]


# ---- when it leads -----------------------------------------------------------------------------

@pytest.mark.parametrize("direction", ["forward", "backward_data", "backward_weight"])
def test_order_is_a_property_of_one_image(direction):
    module = kernels.load("conv2d", "c")
    large = Conv2dProblem.parse("mb1g1ic64oc64ih56oh56kh3ph1")
    assert module.order(large, direction)[0] == "winograd"
    for geometry in ("g1ic64oc64ih56oh56kh1", "g1ic3oc3ih56oh56kh3ph1", "g64ic64oc64ih56oh56kh3ph1",
                     "g1ic64oc64ih56oh28kh3sh2ph1", "g1ic64oc64ih2oh2kh3ph1"):
        for n in (1, 64):
            problem = Conv2dProblem.parse(f"mb{n}{geometry}")
            assert module.order(problem, direction)[0] != "winograd", geometry
    for n in (2, 64):
        with engine.num_threads(n):
            batch = Conv2dProblem.parse(f"mb{n}g1ic64oc64ih56oh56kh3ph1")
            assert module.order(batch, direction)[0] == "winograd"


@pytest.mark.parametrize(("dtype", "size", "algorithm"), [
    ("float32", 28, "winograd"), ("float64", 28, "winograd"), ("float64", 7, "direct")])
def test_default_is_winograd_only_where_it_pays(dtype, size, algorithm):
    """In float64, where it costs digits, only for a good part of the time."""
    x, weight = np.zeros((1, 64, size, size), dtype), np.zeros((64, 64, 3, 3), dtype)
    engine.conv2d(x, weight, padding=1, backend="c")
    wanted = variants.Variant("c", algorithm, _library.get_isa())
    variants.assert_ran(wanted, "conv2d", "forward")
