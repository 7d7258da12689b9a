"""Times one call inside a worker."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from time import perf_counter

AT_LEAST_SECONDS = 0.08  # the clock of an idle processor takes some 20 ms to come up
AT_LEAST_CALLS = 3
ENOUGH_SECONDS = 2.0  # even if that is fewer than AT_LEAST_CALLS
BATCH_SECONDS = 1e-4  # the clock is read once for so much work


def per_call(call: Callable[[], object]) -> tuple[float, float]:
    """Minimum and median seconds of a call, results dropped at once, caches as calls leave them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        return _per_call(call)
    finally:
        if enabled:
            gc.enable()


def _per_call(call: Callable[[], object]) -> tuple[float, float]:
    spent = first = _batch(call, 1)
    if first < BATCH_SECONDS:  # the first one found cold caches
        first = _batch(call, 3)
    size = max(1, round(BATCH_SECONDS / first))
    samples = [] if size > 1 else [first]
    calls = 1
    while spent < AT_LEAST_SECONDS or (calls < AT_LEAST_CALLS and spent < ENOUGH_SECONDS):
        samples.append(_batch(call, size))
        spent += samples[-1] * size
        calls += size
    return min(samples), statistics.median(samples)


def _batch(call: Callable[[], object], size: int) -> float:
    start = perf_counter()
    for _ in range(size):
        call()
    return (perf_counter() - start) / size
