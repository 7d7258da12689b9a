"""Options and fixtures of ``pytest bench``; it reports figures and asserts no times."""

from __future__ import annotations

import pytest

from bench import machine, peaks
from bench.cases import CONV_OPS, POOL_OPS, cases
from bench.layers import NETWORKS, load
from bench.peers import ours


def pytest_addoption(parser):
    group = parser.getgroup("engine bench")
    group.addoption("--batch", default="1", help="N of convolutions, e.g. 1,8 (default 1)")
    group.addoption("--shapes", default=",".join(NETWORKS), help="files of bench/shapes "
                    "(default: every network; `panel` for the public panel)")
    group.addoption("--layout", default="nchw", choices=("nchw", "nhwc"),
                    help="memory order of the input")
    group.addoption("--dtype", default="float32")
    group.addoption("--threads", type=int, default=machine.usable_cpus())


def pytest_generate_tests(metafunc):
    ops = {"conv_case": CONV_OPS, "pool_case": POOL_OPS}
    for name in ops.keys() & set(metafunc.fixturenames):
        option = metafunc.config.getoption
        found = cases(load(*option("shapes").split(",")), ops[name],
                      map(int, option("batch").split(",")), option("dtype"))
        metafunc.parametrize(name, found, ids=[f"{c.layer}-{c.op}-N{c.problem.n}" for c in found])


@pytest.fixture(scope="session")
def limits(pytestconfig):
    """Peaks of the machine, for as many threads as the run uses."""
    if pytestconfig.getoption("benchmark_disable"):
        return None
    pytestconfig.stash[_peaks] = peaks.measure(pytestconfig.getoption("threads"))
    return pytestconfig.stash[_peaks]


@pytest.fixture
def timed(benchmark, limits, pytestconfig):
    """timed(case): run it under pytest-benchmark and note its rate and its time over floor."""
    ours.start(pytestconfig.getoption("threads"))

    def run(case, inputs):
        call = ours.prepare(case, pytestconfig.getoption("layout"), inputs)
        call()
        result = benchmark(call)
        if limits:
            least = benchmark.stats.stats.min
            rate = "GFLOP/s" if case.flops else "GB/s"
            benchmark.extra_info.update({
                "problem": str(case.problem), "ran": ours.ran(),
                rate: round(1e-9 * (case.flops or sum(case.traffic)) / least, 2),
                "over floor": round(least / limits.floor(case), 3)})
            pytestconfig.stash.setdefault(_rows, []).append((case, dict(benchmark.extra_info)))
        return ours.arrays(result)

    return run


def pytest_terminal_summary(terminalreporter, config):
    if not (rows := config.stash.get(_rows, [])):
        return
    terminalreporter.section("rate and time over floor")
    terminalreporter.write_line(machine.headline())
    for line in peaks.lines(config.stash[_peaks]):
        terminalreporter.write_line(line)
    for case, info in rows:
        rate = next(f"{info[unit]:8.1f} {unit}" for unit in ("GFLOP/s", "GB/s") if unit in info)
        terminalreporter.write_line(f"{case.layer:26}{case.op:17}N={case.problem.n:<4}{rate:18}"
                                    f"{info['over floor']:8.2f} x floor  {info['ran']}")


_peaks = pytest.StashKey[peaks.Peaks]()
_rows = pytest.StashKey[list]()
