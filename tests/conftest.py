"""Hypothesis profiles, the --replay option, and the count of generated cases."""

import os
from collections import Counter
from pathlib import Path

import pytest
import variants
from hypothesis import HealthCheck, settings

import engine
from engine import kernels

# Processes that tests start import the engine and the modules that these tests import, not what
# lies in the current folder.
os.environ["PYTHONSAFEPATH"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(engine.__file__).parent.parent), str(Path(__file__).parent),
     *filter(None, [os.environ.get("PYTHONPATH")])])

_common = dict(deadline=None, print_blob=True,
               suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
                                      HealthCheck.filter_too_much])
# The same cases every time, or a change could fail for what it did not touch; fuzz draws new ones.
settings.register_profile("ci", max_examples=45, derandomize=True, **_common)
settings.register_profile("quick", max_examples=20, derandomize=True, **_common)
settings.register_profile("fuzz", max_examples=2_500, **_common)  # 100,000 over all the variants
settings.load_profile("ci")


def pytest_addoption(parser):
    parser.addoption("--replay", metavar="LINE",
                     help="run only this case, as a failing test printed it, on every variant")


def pytest_collection_modifyitems(config, items):
    """With --replay only the replaying tests run, without it all others."""
    replaying = config.getoption("replay") is not None
    kept = [item for item in items if item.name.startswith("test_replay") == replaying]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.fixture
def replay(request):
    """The line given with --replay, for the operation whose tests ask for it."""
    line = request.config.getoption("replay")
    op = request.module.OP
    if line.partition(":")[0].partition("_")[-1] not in (op, "") and op not in line:
        pytest.skip(f"the line is not of {op}")
    return line


SMALL = {"conv2d_c": "THREADED_WORK", "conv2d_numba": "_PARALLEL_MACS",
         "pool2d_numba": "_PARALLEL_WINDOW_CELLS"}


@pytest.fixture(autouse=True, scope="session")
def _several_threads():
    """Split even small problems, and over two threads at least, on any machine."""
    before = engine.get_num_threads()
    engine.set_num_threads(max(2, before))
    with pytest.MonkeyPatch.context() as patch:
        for name, threshold in SMALL.items():
            module = kernels.load(*name.split("_"))
            if not isinstance(module, str):
                patch.setattr(module, threshold, 0)
        yield
    engine.set_num_threads(before)


# ---- the count: every process of pytest-xdist has its own, added up where they report to -------

_totals = Counter()
_compiled = Counter()


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["engine_counts"] = dict(variants.counts)
        session.config.workeroutput["engine_compiled"] = dict(variants.compiled)
    else:
        _totals.update(variants.counts)
        _compiled.update(variants.compiled)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    output = getattr(node, "workeroutput", {})
    _totals.update(output.get("engine_counts", {}))
    _compiled.update(output.get("engine_compiled", {}))


def pytest_terminal_summary(terminalreporter):
    if _totals:
        terminalreporter.write_line(variants.summary(_totals))
    if _compiled:
        terminalreporter.write_line(variants.compiled_summary(_compiled))
