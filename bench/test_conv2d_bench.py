"""Every convolution of the networks, forward and backward."""

import pytest

SHAPES = {"forward": "y_shape", "backward_data": "x_shape", "backward_weight": "weight_shape"}


@pytest.mark.benchmark(max_time=0.2, min_rounds=3)
def test_conv2d(conv_case, timed, benchmark):
    benchmark.group = conv_case.op
    [result] = timed(conv_case, conv_case.inputs())
    assert result.shape == getattr(conv_case.problem, SHAPES[conv_case.op])
