"""``python -m bench gpu``: what is right and how fast it is on the GPU of this machine, unattended.

Kernels are compiled on all processors, then come the tests marked ``gpu``, the public panel against
cuDNN through torch, training, and compute-sanitizer where it is installed.  Every step is kept in a
file as soon as it is done.  What touches the GPU does so in a process of its own: a kernel that
faults or hangs costs that case alone, and is noted.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import click

from bench import machine
from bench.gpu_process import said

RESULTS = Path(__file__).with_name("results")
ROOT = Path(__file__).parent.parent
RESTARTS = 10  # of the panel, after cases that ended its process


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="For all of it.")
@click.option("--batch", default=64, show_default=True, help="N of the convolutions.")
@click.option("--layers", default="", metavar="REGEX", help="Only layers of such names.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS,
              help="The folder to write to; bench/results by default.")
@click.option("--compile", "only_compile", is_flag=True,
              help="Only compile every kernel for sm_80 and sm_90a; needs no GPU.")
def gpu(minutes, batch, layers, results, only_compile) -> None:
    """Check and measure the CUDA backend, against cuDNN."""
    from bench import gpu_compile

    if only_compile:
        gpu_compile.table()
        return
    from engine.kernels.cuda_support.toolchain import driver

    if driver.missing():
        raise click.ClickException(driver.missing())
    report = Report(time.monotonic() + 60 * minutes, results)
    report.step("compile", gpu_compile.beforehand, minutes * 12)
    report.step("correctness", correctness, minutes * 18)
    for name in ("machine", "ceilings", "overhead"):
        report.step(name, stage, name, minutes * 6)
    report.step("panel", panel, report, batch, layers, minutes * 12)
    report.step("training", stage, "training", minutes * 6)
    report.step("sanitizer", sanitizer, report)
    click.echo(summary(report.kept))
    click.echo(f"written to {report.path}")


class Report:
    """What is known so far, on disk."""

    def __init__(self, end: float, folder: Path):
        self.end, self.folder = end, folder
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
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{host['date'][:10]}-{name}-{host['commit']}.json"
        if self.path and self.path != path:
            self.path.unlink(missing_ok=True)
        self.path = path
        path.write_text(json.dumps(self.kept, indent=1) + "\n")


# ---- steps in processes of their own -----------------------------------------------------------

def stage(name: str, seconds: float) -> dict:
    """What one of those in gpu_panel.py finds."""
    (found,) = said([name], seconds)
    return found


def panel(report, batch: int, layers: str, reserve: float) -> list[dict]:
    """A row for every case that there is time for; `reserve` seconds are for what comes after."""
    rows, restarts = [], 0
    while restarts <= RESTARTS:
        seconds, before = report.seconds_left - reserve, len(rows)
        options = {"batch": batch, "only": layers, "first": len(rows), "seconds": seconds,
                   "ceilings": report.kept.get("ceilings", {})}
        try:
            for row in said(["panel", json.dumps(options)], seconds + 60):
                rows.append(row)
                report.kept["panel"] = rows
                report.save()
            return rows
        except (RuntimeError, TimeoutError) as error:  # its process is gone: the next case goes on
            restarts += 1
            if report.seconds_left < reserve:
                return rows
            if len(rows) == before or not rows[-1].get("last words"):
                rows.append({"layer": f"case {len(rows)}", "direction": "", "kind": "",
                             "failed": str(error)[:200]})
    return rows


# ---- correctness -------------------------------------------------------------------------------

def correctness(seconds: float) -> dict:
    """The tests marked `gpu`."""
    return _pytest([sys.executable], seconds, "-m", "gpu", "tests/test_cuda_gpu.py")


def sanitizer(report) -> dict:
    """compute-sanitizer over a call of every template of a kernel."""
    from engine.kernels.cuda_support.toolchain import compiler

    try:
        program = compiler.tool("compute-sanitizer")
    except compiler.Missing:
        return {"left out": "compute-sanitizer is not installed"}
    found = {}
    for left, tool in zip((3, 2, 1), ("memcheck", "racecheck", "synccheck"), strict=True):
        command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable]
        found[tool] = _pytest(command, max(report.seconds_left / left, 20),
                              "tests/test_cuda_gpu.py", "-k", "every_template")
    return found


def _pytest(python, seconds: float, *args) -> dict:
    command = [*python, "-m", "pytest", "-q", "-p", "no:cacheprovider",
               "--hypothesis-profile=quick", *args]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=seconds, env={**os.environ, "PYTHONPATH": path})
        status, text = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:  # its output is bytes even so
        text = (error.stdout or b"").decode(errors="replace")
        status = f"none after {seconds:.0f} s"
    lines = text.strip().splitlines()
    click.echo("\n".join(lines[-30:]))
    return {"exit status": status, "last lines": lines[-3:] if status == 0 else lines[-30:]}


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
    for name in ("compile", "ceilings", "overhead", "correctness", "sanitizer", "training"):
        lines.append(f"{name}: {kept.get(name, 'left out')}")
    return "\n".join(lines)
