"""``python -m bench cold``: the first call of each Numba kernel in a new process.

Every call of the warm-up runs in processes of its own, first on an empty folder for machine code,
then on the one that has just been filled.  What it takes to import Numba is not counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from bench import machine, options

ROOT = Path(__file__).parent.parent


@click.command()
@click.option("--dtype", type=options.Comma(), default="float32,float64", show_default=True)
@options.rounds
def cold(dtype, rounds) -> None:
    """Measure what a first call takes beyond imports, without and with a filled cache."""
    from engine._warmup import calls

    click.echo(machine.headline())
    click.echo(f"{'first call':46}{'empty cache':>12}{'filled':>9}   slowest kernel to compile")
    slowest, warm = (0.0, ""), (0.0, "")
    for each in dtype:
        for name in calls(each):
            with tempfile.TemporaryDirectory() as folder:
                first, made = _process(name, each, folder)
                again = [_process(name, each, folder) for _ in range(rounds)]
            if any(compiled for _, more in again for _, compiled, _ in more):
                raise click.ClickException(f"{name} {each} was compiled again")
            second = min(seconds for seconds, _ in again)
            kernel, _, worst = max(made, key=lambda one: one[2])
            click.echo(f"{name + ', ' + each:46}{first:10.2f} s{second:7.3f} s   "
                       f"{worst:.2f} s {kernel}")
            slowest, warm = max(slowest, (worst, kernel)), max(warm, (second, f"{name}, {each}"))
    click.echo(f"most to compile a kernel {slowest[0]:.2f} s ({slowest[1]}), "
               f"most with a filled cache {warm[0]:.3f} s ({warm[1]})")


def _process(name, dtype, folder):
    """Seconds of the call, and (kernel, whether it was compiled, seconds) for each kernel."""
    done = subprocess.run([sys.executable, "-m", "bench.cold", name, dtype], cwd=ROOT, text=True,
                          capture_output=True, env=os.environ | {"NUMBA_CACHE_DIR": folder})
    if done.returncode:
        raise click.ClickException(f"{name}, {dtype}: {done.stderr}")
    return json.loads(done.stdout)


def _measure(name: str, dtype: str) -> None:
    from engine import _warmup, kernels
    from engine.kernels.numba_support import jit

    for op in ("conv2d", "pool2d"):
        kernels.load(op, "numba")
    call = _warmup.calls(dtype)[name]
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, [(made.kernel, made.compiled, made.seconds) for made in jit.made]]))


if __name__ == "__main__":
    _measure(*sys.argv[1:])
