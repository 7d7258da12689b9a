"""Calls from several Python threads, and in processes forked after engine was used."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import variants

import engine

BACKENDS = sorted({param.values[0].backend for param in variants.params("conv2d")
                   if param.values[0]})
POOLING = {param.values[0].backend: param.values[0].backend for param in variants.params("pool2d")
           if param.values[0]}  # else whichever backend has it
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def work(seed, backend=None):
    """The bytes of all that a small training step computes; different for every seed."""
    rng = np.random.default_rng(seed)
    n, c, k, size = 1 + seed % 3, 3 + 5 * (seed % 5), 16 + seed % 7, 20 + seed % 9
    x = rng.standard_normal((n, c, size, size), np.float32)
    weight = rng.standard_normal((k, c, 3, 3), np.float32)
    y = engine.conv2d(x, weight, padding=1, backend=backend)
    pooling = POOLING.get(backend)
    pooled, indices = engine.max_pool2d(y, 2, return_indices=True, backend=pooling)
    dy = engine.max_pool2d_backward(pooled, y, 2, indices=indices, backend=pooling)
    dx, dweight, dbias = engine.conv2d_backward(dy, x, weight, padding=1, backend=backend)
    return b"".join(each.tobytes() for each in (y, pooled, indices, dy, dx, dweight, dbias))


@pytest.mark.parametrize("backend", BACKENDS)
def test_python_threads(backend):
    seeds = list(range(8)) * 12
    alone = [work(seed, backend) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: work(seed, backend), seeds))
    assert all(result == alone[seed] for seed, result in zip(seeds, together, strict=True))


def test_settings_are_of_one_thread():
    """num_threads() and use_backend() of one Python thread are not seen by another."""
    before = engine.get_num_threads()
    with engine.num_threads(before + 3), engine.use_backend("numpy"):
        with ThreadPoolExecutor(1) as pool:
            seen = pool.submit(engine.get_num_threads).result()
            pool.submit(work, 0).result()
            backend = pool.submit(lambda: engine._plan.last_run().backend).result()
        assert engine.get_num_threads() == before + 3
    assert seen == engine.get_num_threads() == before
    assert backend == BACKENDS[0]  # "c" before "numba" before "numpy"


def in_child(function, seconds=60):
    """Run it in a forked child; its exit status, 0 where it returned True, -9 where it hung."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if function() else 2
        finally:
            os._exit(status)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_fork
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_use(backend):
    before = [work(seed, backend) for seed in range(4)]
    for _ in range(3):
        assert in_child(lambda: [work(seed, backend) for seed in range(4)] == before) == 0
    assert [work(seed, backend) for seed in range(4)] == before  # and the parent goes on


@needs_fork
@pytest.mark.parametrize("backend", [each for each in BACKENDS if each != "numpy"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_while_another_thread_computes(backend):
    """Not of NumPy's products: at a fork OpenBLAS stops its team under whoever waits for it."""
    before = work(0, backend)
    stop = threading.Event()

    def compute():
        while not stop.is_set():
            work(1, backend)

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        statuses = [in_child(lambda: work(0, backend) == before) for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    assert statuses == [0] * 5


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_multiprocessing_pool():
    before = [work(seed) for seed in range(4)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(work, range(4)).get(timeout=60) == before


def test_idle_engine_burns_no_cpu():
    """A process that has computed and now sleeps uses next to no CPU time."""
    code = """
import time, numpy as np, engine
engine.set_num_threads(4)
x = np.ones((2, 32, 40, 40), np.float32)
for _ in range(5):
    engine.conv2d(x, np.ones((32, 32, 3, 3), np.float32))
time.sleep(0.3)
before = time.process_time()
time.sleep(1)
print(time.process_time() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.05
