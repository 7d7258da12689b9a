"""Kernels compiled without a launch: beforehand, on all processors; or to look at their code."""

from __future__ import annotations

import multiprocessing
import os
from concurrent import futures

import click

TARGETS = ("sm_80", "sm_90a")


def beforehand(seconds: float, count: int | None = None) -> dict:
    """The catalog, or its first `count`, into the cache for this GPU, while there is time."""
    from engine.kernels.cuda_support import catalog
    from engine.kernels.cuda_support.toolchain import driver

    target = driver.device(0).target
    count = count or len(list(catalog.kernels()))
    done, failed = 0, {}
    pool = futures.ProcessPoolExecutor(min(os.cpu_count() or 1, 16),
                                       multiprocessing.get_context("spawn"))
    try:
        work = [pool.submit(_compile, number, target) for number in range(count)]
        for each in futures.as_completed(work, timeout=seconds):
            name, error = each.result()
            done += error is None
            if error is not None:
                failed[name] = error
    except futures.TimeoutError:
        pass
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {"target": target, "kernels": count, "compiled": done, "failed": failed}


def _compile(number: int, target: str) -> tuple[str, str | None]:
    """Kernels are functions made on the spot: their number in the catalog goes to the process."""
    from engine.kernels.cuda_support import catalog
    from engine.kernels.cuda_support.toolchain import cubins

    kernel = list(catalog.kernels())[number]
    try:
        cubins.binary(kernel, target)
    except Exception as error:
        return kernel.name, f"{type(error).__name__}: {error}"
    return kernel.name, None


def table() -> None:
    """Every kernel of the catalog, and what each takes."""
    from engine.kernels.cuda_support import catalog
    from engine.kernels.cuda_support.toolchain import compiler, cubins

    over = 0
    click.echo(f"{'kernel':56}{'target':8}{'registers':>10}{'spilled':>8}{'stack':>6}"
               f"{'shared':>7}{'FFMA':>6}{'HMMA':>6}{'loop':>6}{'products':>9}  shared loads")
    kernels = list(catalog.kernels())
    for kernel in kernels:
        for target in TARGETS:
            made = cubins.binary(kernel, target)
            used = compiler.usage(made.report)
            names = [name.split(".")[0] for name in compiler.instructions(made.cubin)]
            loop = compiler.main_loop(made.cubin)
            share = compiler.products(loop) / max(loop.total(), 1)
            loads = " ".join(f"{count} {name}" for name, count in sorted(loop.items())
                             if name.startswith("LDS"))
            over += bool(used.spilled or used.stack)
            click.echo(f"{kernel.name:56}{target:8}{used.registers:10}{used.spilled:8}"
                       f"{used.stack:6}{used.shared:7}{names.count('FFMA'):6}"
                       f"{names.count('HMMA'):6}{loop.total():6}{share:9.0%}  {loads}")
    click.echo(f"{len(kernels)} kernels for each of 2 targets, {over} that spill or have a stack")
