"""How much of the CPUs others used while we measured (Linux: /proc; elsewhere nothing is known).

OpenMP teams wait for their slowest thread, so a peer with as many threads as CPUs can be hundreds
of times slower beside other work.  A ratio from such a run means nothing, and has to say so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

TOLERABLE = 0.05  # of all CPUs


def busy(shares: Iterable[float | None]) -> list[str]:
    """A warning if others used the CPUs: none or one line."""
    known = [share for share in shares if share is not None]
    share = sum(known) / len(known) if known else 0.0
    return [f"*** BUSY MACHINE: others used {share:.0%} of the CPUs meanwhile; quote none of this"
            ] if share > TOLERABLE else []


class Bystanders:
    """Adds up, over turns, the time of all CPUs and the part that was not ours."""

    def __init__(self):
        self.total = self.foreign = 0

    @property
    def share(self) -> float | None:
        """Part of the CPUs that others (a hypervisor's other guests included) used."""
        return max(0.0, self.foreign / self.total) if self.total else None

    @contextmanager
    def watch(self, ours: Iterable[int]):
        """Count the time spent inside; ``ours`` are the processes that are no bystanders."""
        ours = [os.getpid(), *ours]
        before = _clocks(ours)
        yield
        after = _clocks(ours)
        if before and after:
            total, busy, own = (b - a for a, b in zip(before, after, strict=True))
            self.total += total
            self.foreign += busy - own


def _clocks(ours: list[int]) -> tuple[int, int, int] | None:
    """Ticks since boot: all CPUs together, those not idle, those of our processes."""
    try:
        user, nice, system, idle, wait, irq, soft, steal = map(
            int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
        own = sum(map(_process_ticks, ours))
    except (OSError, ValueError):
        return None
    busy = user + nice + system + irq + soft + steal
    return busy + idle + wait, busy, own


def _process_ticks(pid: int) -> int:
    """User and system time of a process, the 14th and 15th word; the 2nd, its name, has spaces."""
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(words[11]) + int(words[12])
