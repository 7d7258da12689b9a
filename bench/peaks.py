"""What this machine can do at most: FMA rate, memory bandwidth, clock.

The floor of a case is the longest of flops / peak, bytes read / read bandwidth, bytes written /
write bandwidth and all bytes / copy bandwidth: nobody who multiplies every weight with every pixel
out of main memory is faster.  Winograd (fewer multiplications) and operands that are still in a
cache from the last call do go below it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter

import click
import numpy as np

from bench import loops, machine
from bench.bystanders import Bystanders, busy
from bench.cases import Case

SECONDS = 0.03  # of one measurement
ROUNDS = 8  # the best counts
BUFFER = 256 << 20  # bytes a thread set streams through, far beyond any L3 in use
ALIGN = 4096


@dataclass(frozen=True)
class Peaks:
    threads: int
    gflops: dict[str, float]  # by dtype
    read: float  # GB/s, and so are the next two
    write: float
    copy: float  # bytes read plus bytes written
    ghz: float  # clock under a scalar load

    def flop_rate(self, dtype: str) -> float:
        """GFLOP/s for that dtype; what has no rate of its own is computed in float32."""
        return self.gflops.get(dtype, self.gflops["float32"])

    def floor(self, case: Case) -> float:
        """Seconds below which the case cannot come by direct sums from main memory."""
        read, written = case.traffic
        return 1e-9 * max(case.flops / self.flop_rate(case.problem.dtype.name),
                          read / self.read, written / self.write, (read + written) / self.copy)


def measure(threads: int) -> Peaks:
    """Measure the peaks of that many threads together; takes about two seconds."""
    source, target = _buffer(BUFFER), _buffer(BUFFER)
    source[:] = np.frombuffer(np.random.default_rng(0).bytes(BUFFER), np.uint8)
    dtypes = ["float32", "float64"] + ["bfloat16"] * loops.has_bf16_dot()
    return Peaks(threads, {dtype: _fma_rate(dtype, threads) for dtype in dtypes},
                 *(_bandwidth(kind, threads, source, target) for kind in ("read", "write", "copy")),
                 ghz=_clock())


def _fma_rate(dtype: str, threads: int) -> float:
    data = [_buffer(ALIGN) for _ in range(threads)]
    seconds, turns = _sized(loops.fma(dtype), lambda k, turns: (turns, data[k].ctypes.data),
                            threads)
    return 1e-9 * threads * turns * loops.flops_per_turn(dtype) / seconds


def _clock() -> float:
    data = _buffer(ALIGN)
    seconds, turns = _sized(loops.chain(), lambda _, turns: (turns, data.ctypes.data), 1)
    return 1e-9 * turns * loops.CHAIN / seconds


def _bandwidth(kind: str, threads: int, source: np.ndarray, target: np.ndarray) -> float:
    part = BUFFER // threads // ALIGN * ALIGN
    # A reading thread leaves its sums at the start of its part of the target.
    arguments = [(part, source.ctypes.data + k * part, target.ctypes.data + k * part)
                 for k in range(threads)]
    seconds = _best(loops.memory(kind), arguments)
    return 1e-9 * threads * part * (2 if kind == "copy" else 1) / seconds


def _sized(function: Callable, arguments: Callable, threads: int) -> tuple[float, int]:
    """Best seconds and the number of turns that make a run last about SECONDS."""
    turns = 1000
    while (took := _best(function, [arguments(0, turns)], 1)) < SECONDS / 10:
        turns *= 4
    turns = max(1, int(turns * SECONDS / took))
    return _best(function, [arguments(k, turns) for k in range(threads)]), turns


def _best(function: Callable, arguments: list[tuple], rounds: int = ROUNDS) -> float:
    """Seconds from the first thread's start to the last one's end, the best of some rounds."""
    return min(_together(function, arguments) for _ in range(rounds))


def _together(function: Callable, arguments: list[tuple]) -> float:
    times: list[tuple[float, float]] = []
    ready = threading.Barrier(len(arguments))

    def run(argument: tuple) -> None:
        ready.wait()
        start = perf_counter()
        function(*argument)
        times.append((start, perf_counter()))

    team = [threading.Thread(target=run, args=(argument,)) for argument in arguments]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    return max(end for _, end in times) - min(start for start, _ in times)


def _buffer(nbytes: int) -> np.ndarray:
    """Page-aligned bytes, every page touched, that read as small normal floats."""
    raw = np.full(nbytes + ALIGN, 0x3c, np.uint8)
    return raw[-raw.ctypes.data % ALIGN:][:nbytes]


def lines(peaks: Peaks) -> list[str]:
    rates = ", ".join(f"{dtype} {rate:.0f}" for dtype, rate in peaks.gflops.items())
    return [f"{peaks.threads} thread{'s' * (peaks.threads > 1)}: FMA peak {rates} GFLOP/s; "
            f"memory read {peaks.read:.1f}, write {peaks.write:.1f}, copy {peaks.copy:.1f} GB/s; "
            f"clock {peaks.ghz:.2f} GHz"]


@click.command()
@click.option("--threads", default=None, help="Thread counts, e.g. 1,2 (default: one, and all).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def peaks(threads: str | None, as_json: bool) -> None:
    """Measure FMA peak and memory bandwidth."""
    counts = ([int(k) for k in threads.split(",")] if threads
              else sorted({1, machine.usable_cpus()}))
    others = Bystanders()
    with others.watch([]):
        found = [measure(k) for k in counts]
    if as_json:
        click.echo(json.dumps([asdict(p) for p in found], indent=1))
        return
    click.echo(machine.headline())
    for p in found:
        click.echo("\n".join(lines(p)))
    click.echo("\n".join(busy([others.share])))
