"""``python -m bench gpu`` without a GPU: everything but the clock, on kernels that are emulated."""

import sys
from pathlib import Path

import pytest
from cuda_emulation import emulated, emulated_torch

from engine.nn import models

sys.path.append(str(Path(__file__).parent.parent))  # after where engine itself was found
pytest.importorskip("torch")

from bench import gpu, gpu_panel  # noqa: E402
from bench.cases import cases  # noqa: E402
from bench.layers import Layer  # noqa: E402

LAYERS = [Layer("conv", "g1ic8oc16ih9oh9kh3sh1dh0ph1"), Layer("pool", "mb2ic4ih8kh2sh2ph0")]


@pytest.fixture
def device():
    with emulated_torch() as device:
        yield device


def test_rows_of_the_panel(device, monkeypatch):
    """What a row holds, and that engine is compared with the truth."""
    monkeypatch.setattr(gpu_panel, "DEVICE", "cpu")
    ran = []
    seconds = {"engine": 1e-3, "peer": 2e-3}

    def timer(call):
        call()
        ran.append(call)
        return list(seconds.values())[(len(ran) + 1) % 2]

    rows = []
    for kind, direction in (("fp32", "forward"), ("fp32x3", "forward"), ("tf32", "backward_data"),
                            ("bf16", "backward_weight")):
        (case,) = cases(LAYERS, [direction], [2], "float32")
        row = gpu_panel.conv_row(case, kind, timer)
        assert row["ratio"] == 2
        assert row["error"] < {"fp32": 1e-6, "fp32x3": 1e-6, "tf32": 1e-3, "bf16": 2e-2}[kind]
        share = gpu_panel.share(case, kind, row["engine"], {"copy": 1e12, "fp32": 1e12,
                                                            "tf32": 1e12, "bf16": 1e12})
        assert 0 < share < 0.1
        rows.append({"layer": case.layer, "direction": direction, "kind": kind, "share": share,
                     **row})
    (case,) = cases(LAYERS, ["max"], [2], "float32")
    row = gpu_panel.pool_row(case, timer)
    assert row["error"] == 0
    text = gpu.summary({"panel": [*rows, {"layer": "no", "direction": "forward", "kind": "fp32",
                                          "failed": "RuntimeError: why"}]})
    assert "geometric mean of 1, forward fp32x3: 2.00 of cuDNN" in text
    assert "RuntimeError: why" in text


def test_a_step_that_fails_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    report = gpu.Report(end=0)
    report.step("machine", lambda: {"name": "NVIDIA H100"})
    report.step("panel", lambda: 1 / 0)
    (file,) = tmp_path.iterdir()
    assert "-nvidia-h100-" in file.name
    assert "ZeroDivisionError: division by zero" in file.read_text()
    assert "panel" not in gpu.summary(report.kept)


def test_training_is_the_same_on_the_device():
    """engine.nn on CUDA: losses as on the host."""
    with emulated() as device:
        found = gpu._trained(models.lenet5, (1, 28, 28), images=8, batch=4)
        assert any("backward" in name for name in device.launches)
    assert found["cuda"]["loss"] == pytest.approx(found["cpu"]["loss"], rel=1e-4)

