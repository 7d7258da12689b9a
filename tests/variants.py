"""Every way in which engine can carry out an operation on this machine: forced, proved, counted."""

import contextlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import currently_in_test_context, note

import engine
from engine import _config, _library, _plan, kernels


class Variant(NamedTuple):
    backend: str
    algorithm: str | None  # None: the operation has only one
    isa: str | None  # None: the backend has no instruction-set levels

    def __str__(self):
        return "/".join(filter(None, self))

    @property
    def options(self):
        """The keyword arguments that force backend and algorithm."""
        given = {"backend": self.backend, "algorithm": self.algorithm}
        return {name: value for name, value in given.items() if value is not None}


def params(op):
    """The variants of `op` for `parametrize`; a missing backend is a skip with its reason."""
    found = []
    for backend in reversed(_config.BACKENDS):
        module = kernels.load(op, backend)
        if isinstance(module, str):
            found.append(pytest.param(None, id=backend, marks=pytest.mark.skip(reason=module)))
            continue
        for algorithm in getattr(module, "ALGORITHMS", (None,)):
            for isa in _levels(algorithm) if backend == "c" else (None,):
                variant = Variant(backend, algorithm, isa)
                found.append(pytest.param(variant, id=str(variant)))
    return found


def _levels(algorithm):
    """The instruction-set levels of this processor that have it."""
    return [isa for isa in _library.isa_levels() if algorithm != "bf16x6" or isa == "amx"]


def needs(name):
    """A mark that skips where engine has no function of that name."""
    return pytest.mark.skipif(not hasattr(engine, name), reason=f"there is no engine.{name}")


@contextlib.contextmanager
def level(variant):
    """Let the C library use the variant's instruction-set level."""
    if variant.isa is None:
        yield
        return
    with _library.isa(variant.isa):
        _plan.clear()  # a choice may depend on the level
        yield
    _plan.clear()


def refusal(variant, op, problem, direction):
    """Why the variant cannot do it, or None."""
    algorithm = () if variant.algorithm is None else (variant.algorithm,)
    return kernels.load(op, variant.backend).refusal(problem, direction, *algorithm)


def assert_ran(variant, op, direction):
    """The last kernel of this thread must have been that very one."""
    algorithm = None if direction == "backward_bias" else variant.algorithm
    run = _plan.last_run()
    assert (run.op, run.direction, run.backend, run.isa) == (op, direction, variant.backend,
                                                             variant.isa)
    assert algorithm in (None, run.algorithm)


# ---- the count printed when the session ends ---------------------------------------------------

LAST_CASE = Path(".hypothesis", "last-case")
counts = Counter()  # of compared problems, by "numpy", "numba", "c/avx512" ...; also the two below
REFUSED, MISMATCHES = "refused", "mismatches"
compiled = Counter()  # CUDA kernels within their budgets, by kind of GPU


@contextlib.contextmanager
def counted(variant, replay):
    """Count the comparison inside; if it fails, print the line that replays it.

    A crash prints nothing: the line is then in the file LAST_CASE.
    """
    LAST_CASE.parent.mkdir(exist_ok=True)
    LAST_CASE.write_text(f"{variant} {replay}\n")
    try:
        yield
    except Exception:
        counts[MISMATCHES] += 1
        show = note if currently_in_test_context() else print
        show(f'{variant}; replay with: pytest tests --replay "{replay}"')
        raise
    finally:
        counts["/".join(filter(None, (variant.backend, variant.isa)))] += 1


def summary(totals):
    """The counts in one line."""
    made = ", ".join(f"{name} {totals[name]:,}" for name in sorted(totals)
                     if name not in (REFUSED, MISMATCHES))
    return (f"generated cases per backend: {made or 'none'}; refused {totals[REFUSED]:,}; "
            f"mismatches {totals[MISMATCHES]:,}")


def compiled_summary(totals):
    """The CUDA kernels in one line."""
    made = ", ".join(f"{totals[target]} for {target}" for target in sorted(totals))
    return f"CUDA kernels compiled within their budgets: {made}"
