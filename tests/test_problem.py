"""str(problem) and parse() are inverse, and the numbers of a problem are those of naive.py."""

import naive
import numpy as np
import pytest
from hypothesis import given
from strategies import ConvCase, PoolCase, conv2d_cases, pool2d_cases

import engine
from engine._problem import Conv2dProblem, Pool2dProblem, memory_order


@given(case=conv2d_cases())
def test_conv2d_line(case):
    assert Conv2dProblem.parse(str(case.problem)) == case.problem
    assert ConvCase.parse(str(case)) == case


@given(case=pool2d_cases())
def test_pool2d_line(case):
    assert Pool2dProblem.parse(str(case.problem)) == case.problem
    assert PoolCase.parse(str(case)) == case


@given(case=conv2d_cases())
def test_conv2d_output_size(case):
    p = case.problem
    assert (p.oh, p.ow) == tuple(naive.out_size(*axis) for axis in zip(
        (p.ih, p.iw), case.pads, (p.kh, p.kw), case.stride, case.dilation, strict=True))


@given(case=pool2d_cases())
def test_pool2d_output_size(case):
    p = case.problem
    assert (p.oh, p.ow) == tuple(naive.out_size(*axis, case.ceil_mode) for axis in zip(
        (p.ih, p.iw), case.pads, (p.kh, p.kw), case.stride, case.dilation, strict=True))


@given(case=conv2d_cases())
def test_explain_names_the_problem(case):
    """The public function arrives at the very problem that the test drew."""
    p = case.problem
    x, weight = case.array("x", p.x_shape), case.array("weight", p.weight_shape)
    text = str(engine.explain(engine.conv2d, x, weight, case.bias, activation=p.activation,
                              **case.geometry))
    line = str(p)
    assert line in text or line.replace(":nchw:", ":nhwc:") in text \
        or line.replace(":nhwc:", ":nchw:") in text


@pytest.mark.parametrize(("geometry", "macs"), [
    ("g1ic1oc6ih28oh28kh5ph2", 6 * 28 * 28 * 25), ("mb8g2ic96oc256ih27oh27kh5ph2",
                                                   8 * 256 * 27 * 27 * 48 * 25)])
def test_macs(geometry, macs):
    problem = Conv2dProblem.parse(geometry)
    assert problem.macs == macs and problem.flops == 2 * macs
    assert problem.nbytes == 4 * sum(np.prod(shape) for shape in (
        problem.x_shape, problem.weight_shape, problem.y_shape))


@pytest.mark.parametrize("text", ["", "ic3", "conv2d:f32:nchw", "ic3oc4ih5oh5kh3junk", "x=3"])
def test_nonsense_is_not_a_problem(text):
    with pytest.raises((ValueError, KeyError, IndexError)):
        Conv2dProblem.parse(text)


def test_memory_order():
    plain = np.zeros((2, 3, 4, 5))
    last = np.zeros((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    assert memory_order(plain) == "nchw" and memory_order(last) == "nhwc"
    assert memory_order(last[:, :, 1:, 2:]) == "nhwc"
    assert memory_order(np.zeros((2, 1, 4, 5))) == "nchw"
