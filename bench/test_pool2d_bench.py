"""Every pooling of the networks as maximum and as average, forward and backward."""

import pytest


@pytest.mark.benchmark(max_time=0.2, min_rounds=3)
def test_pool2d(pool_case, timed, benchmark):
    benchmark.group = pool_case.op
    result = timed(pool_case, pool_case.inputs())[0]
    problem = pool_case.problem
    assert result.shape == (problem.x_shape if pool_case.op.endswith("backward")
                            else problem.y_shape)
