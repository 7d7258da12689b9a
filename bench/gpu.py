"""``python -m bench gpu``: what is right and how fast it is on the GPU of this machine, unattended.

Correctness first (the tests marked ``gpu``, then compute-sanitizer where it is installed), then the
public panel against cuDNN through torch, then training.  Every step is kept in a file as soon as it
is done, and a step that fails is noted there; what does not fit into the time is left out.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import click

from bench import machine

RESULTS = Path(__file__).with_name("results")
ROOT = Path(__file__).parent.parent


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="For all of it.")
@click.option("--batch", default=64, show_default=True, help="N of the convolutions.")
@click.option("--layers", default="", metavar="REGEX", help="Only layers of such names.")
@click.option("--compile", "only_compile", is_flag=True,
              help="Only compile every kernel for sm_80 and sm_90a; needs no GPU.")
def gpu(minutes, batch, layers, only_compile) -> None:
    """Check and measure the CUDA backend, against cuDNN."""
    if only_compile:
        compile_all()
        return
    from engine.kernels.cuda_support.toolchain import driver

    if driver.missing():
        raise click.ClickException(driver.missing())
    report = Report(time.monotonic() + 60 * minutes)
    report.step("correctness", correctness)
    report.step("sanitizer", sanitizer)
    from bench import gpu_panel  # needs torch

    report.step("machine", gpu_panel.describe)
    report.step("ceilings", gpu_panel.ceilings)
    report.step("overhead", gpu_panel.overhead)
    report.step("panel", gpu_panel.panel, report, batch, layers)
    report.step("training", training)
    click.echo(summary(report.kept))
    click.echo(f"written to {report.path}")


class Report:
    """What is known so far, on disk."""

    def __init__(self, end: float):
        self.end = end
        self.kept: dict = {"host": machine.describe()}
        self.path = None

    @property
    def seconds_left(self) -> float:
        return self.end - time.monotonic()

    def step(self, name, function, *args) -> None:
        """Do it and keep what it returns, or why it failed."""
        start = time.monotonic()
        click.echo(f"== {name} ({self.seconds_left:.0f} s left)")
        try:
            self.kept[name] = function(*args)
        except Exception as error:
            traceback.print_exc()
            self.kept[name] = {"failed": f"{type(error).__name__}: {error}"}
        self.kept.setdefault("seconds", {})[name] = round(time.monotonic() - start, 1)
        self.save()

    def save(self) -> None:
        about = self.kept.get("machine", {})
        name = "-".join(about.get("name", "gpu").lower().split())
        host = self.kept["host"]
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{host['date'][:10]}-{name}-{host['commit']}.json"
        if self.path and self.path != path:
            self.path.unlink(missing_ok=True)
        self.path = path
        path.write_text(json.dumps(self.kept, indent=1) + "\n")


# ---- correctness -------------------------------------------------------------------------------

def correctness() -> dict:
    """The tests marked `gpu`."""
    return _pytest([sys.executable], "-m", "gpu", "tests/test_cuda_gpu.py")


def sanitizer() -> dict:
    """compute-sanitizer over a few of them."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return {"left out": "compute-sanitizer is not installed"}
    found = {}
    for tool in ("memcheck", "racecheck"):
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable]
        found[tool] = _pytest(command, "tests/test_cuda_gpu.py", "-k", "captured or tensors",
                              timeout=90)
    return found


def _pytest(python, *args, timeout=240) -> dict:
    command = [*python, "-m", "pytest", "-q", "--hypothesis-profile=quick", *args]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, "PYTHONPATH": path})
    lines = done.stdout.strip().splitlines()
    click.echo("\n".join(lines[-12:]))
    return {"exit status": done.returncode, "last lines": lines[-3:]}


# ---- training ----------------------------------------------------------------------------------

def training(images: int = 256, batch: int = 64) -> dict:
    """Two epochs of engine.nn's LeNet-5 and ResNet-20 on noise, on the host and on the GPU."""
    from engine.nn import models

    return {"lenet5": _trained(models.lenet5, (1, 28, 28), images, batch),
            "resnet20": _trained(models.resnet_cifar, (3, 32, 32), images, batch)}


def _trained(build, shape, images, batch) -> dict:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, *shape)).astype(np.float32)
    labels = rng.integers(0, 10, images)
    found = {}
    for device in ("cpu", "cuda"):
        model, seconds = build(seed=0).to(device), []
        for _ in range(2):  # the first compiles kernels
            start = time.monotonic()
            history = model.fit(x, labels, batch_size=batch, progress=False)
            seconds.append(round(time.monotonic() - start, 2))
        found[device] = {"loss": history["loss"], "seconds": seconds}
    return found


# ---- what it comes to --------------------------------------------------------------------------

def summary(kept: dict) -> str:
    """The table and the geometric means."""
    lines = [f"{'layer':24}{'direction':17}{'kind':8}{'engine us':>11}{'cuDNN us':>10}"
             f"{'ratio':>7}{'share':>7}{'error':>9}"]
    ratios: dict[tuple[str, str], list[float]] = {}
    rows = kept.get("panel", [])
    for row in rows if isinstance(rows, list) else []:
        if "failed" in row:
            lines.append(f"{row['layer']:24}{row['direction']:17}{row['kind']:8}{row['failed']}")
            continue
        lines.append(f"{row['layer']:24}{row['direction']:17}{row['kind']:8}"
                     f"{1e6 * row['engine']:11.1f}{1e6 * row['peer']:10.1f}{row['ratio']:7.2f}"
                     f"{row['share']:7.0%}{row['error']:9.1e}")
        ratios.setdefault((row["direction"], row["kind"]), []).append(row["ratio"])
    for (direction, kind), values in sorted(ratios.items()):
        mean = math.exp(sum(map(math.log, values)) / len(values))
        lines.append(f"geometric mean of {len(values)}, {direction} {kind}: {mean:.2f} of cuDNN")
    for name in ("ceilings", "overhead", "correctness", "sanitizer", "training"):
        lines.append(f"{name}: {kept.get(name, 'left out')}")
    return "\n".join(lines)


# ---- without a GPU -----------------------------------------------------------------------------

def compile_all() -> None:
    """Every kernel of the catalog, and what each takes."""
    import collections

    from engine.kernels.cuda_support import catalog
    from engine.kernels.cuda_support.toolchain import compiler, cubins

    over = 0
    click.echo(f"{'kernel':56}{'target':8}{'registers':>10}{'spilled':>8}{'stack':>6}"
               f"{'shared':>7}{'FFMA':>5}{'HMMA':>5}")
    kernels = list(catalog.kernels())
    for kernel in kernels:
        for target in ("sm_80", "sm_90a"):
            made = cubins.binary(kernel, target)
            used = compiler.usage(made.report)
            count = collections.Counter(name.split(".")[0]
                                        for name in compiler.instructions(made.cubin))
            over += bool(used.spilled or used.stack)
            click.echo(f"{kernel.name:56}{target:8}{used.registers:10}{used.spilled:8}"
                       f"{used.stack:6}{used.shared:7}{count['FFMA']:5}{count['HMMA']:5}")
    click.echo(f"{len(kernels)} kernels for each of 2 targets, {over} that spill or have a stack")
