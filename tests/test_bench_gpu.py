"""``python -m bench gpu`` without a GPU: everything but the clock, on kernels that are emulated."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_emulation import emulated_torch

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # after where engine itself was found
pytest.importorskip("torch")

from bench import gpu, gpu_panel, gpu_process  # noqa: E402
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


def test_a_step_that_fails_is_kept(tmp_path):
    report = gpu.Report(0, tmp_path)
    report.step("machine", lambda: {"name": "NVIDIA H100"})
    report.step("panel", lambda: 1 / 0)
    (file,) = tmp_path.iterdir()
    assert "-nvidia-h100-" in file.name
    assert "ZeroDivisionError: division by zero" in file.read_text()
    assert "panel" not in gpu.summary(report.kept)


def test_a_process_that_ends_or_hangs_costs_one_case(tmp_path, monkeypatch):
    """The panel goes on after it, in another process."""
    program = tmp_path / "program.py"
    program.write_text("""if True:
        import json, os, sys, time
        first = json.loads(sys.argv[2])["first"]
        for case in range(first, 6):
            if case == 1:
                print("illegal address", flush=True)
                os._exit(3)
            if case == 3:
                print('@' + json.dumps({"layer": "3", "last words": True}), flush=True)
                raise RuntimeError
            if case == 4:
                time.sleep(60)
            print("@" + json.dumps({"layer": str(case)}), flush=True)
    """)
    monkeypatch.setattr(gpu_process, "PROGRAM", [sys.executable, "-I", "-S", str(program)])
    monkeypatch.setattr(gpu_process, "SILENCE", 2)
    report = gpu.Report(float("inf"), tmp_path)
    rows = gpu.panel(report, 64, "", 0)
    assert [row["layer"] for row in rows] == ["0", "case 1", "2", "3", "case 4", "5"]
    assert rows[1]["failed"] == "its process ended with status 3: illegal address"
    assert rows[4]["failed"].startswith("no end or no word for too long")


def test_a_dry_run(tmp_path):
    """All that a GPU would run but the machine code: `cuda_dry_run` says what stands in for it."""
    pytest.importorskip("cuda.bindings")
    pytest.importorskip("numba_cuda")
    sanitizer = tmp_path / "compute-sanitizer"
    sanitizer.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/sanitized\n')
    sanitizer.chmod(0o755)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path, str(ROOT)])
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("cuda_dry_run.py"), tmp_path],
        capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": path, "ENGINE_CUDA_CACHE": str(tmp_path / "cache"),
             "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.rpartition("@")[2])
    assert found["missing"] is None and found["tests"] == 0
    assert {"gather_gemm", "gather_gemm_weight", "depthwise", "extreme_max", "mean_avg",
            "reduction_add"} <= set(found["launched"])
    assert found["streams"] > 1
    (file,) = tmp_path.glob("*-nvidia-stand-in-*.json")
    kept = json.loads(file.read_text())
    assert not [name for name, each in kept.items() if "failed" in each and name != "compile"]
    assert kept["compile"] == {"target": "sm_90a", "kernels": 1, "compiled": 1, "failed": {}}
    assert kept["correctness"]["exit status"] == 0
    assert len(kept["panel"]) == 10 and not [row for row in kept["panel"] if "failed" in row]
    assert all(row["orders"]["engine"].keys() == {"nchw", "nhwc"} for row in kept["panel"])
    losses = [kept["training"]["lenet5"][device]["loss"] for device in ("cuda", "cpu")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    tools = [line.split()[1] for line in (tmp_path / "sanitized").read_text().splitlines()]
    assert tools == ["memcheck", "racecheck", "synccheck"]
