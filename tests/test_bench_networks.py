"""``python -m bench models``: what it compares computes the same."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
from bench.networks import NetworkCase  # noqa: E402
from bench.peers import networks_onnx, networks_ours, networks_torch  # noqa: E402


def results(peer, case, variant="nchw"):
    return peer.arrays(peer.prepare(case, variant, case.inputs())())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("network", ["lenet5", "resnet20"])
def test_peers_agree(network, training):
    case = NetworkCase(network, 2, training)
    ours = results(networks_ours, case)
    theirs = [results(networks_torch, case, order) for order in ("nchw", "nhwc")]
    theirs += [] if training else [results(networks_onnx, case)]
    for other in theirs:
        for a, b in zip(ours, other, strict=True):
            assert a.shape == b.shape
            assert abs(a - b).max() <= case.tolerance * abs(a).max()


def test_a_step_of_training_changes_the_network():
    case = NetworkCase("lenet5", 2, training=True)
    for peer in (networks_ours, networks_torch):
        step = peer.prepare(case, "nchw", case.inputs())
        losses = [float(peer.arrays(step())[0]) for _ in range(3)]
        assert losses[0] > losses[1] > losses[2]


def test_onnx_runtime_does_not_train():
    case = NetworkCase("lenet5", 2, training=True)
    with pytest.raises(ValueError, match="only infers"):
        networks_onnx.prepare(case, "nchw", {"x": np.empty(0)})
