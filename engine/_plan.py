"""Which kernel runs: ordered candidates per operation and direction, each refusal with its reason.

The planner looks at problems, never at data.  A kernel module is imported only when every
candidate before it has refused, so Numba costs nothing where C runs.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from engine import _check, _config, _recall, kernels
from engine.kernels import ASKED_FOR, BACKENDS


class Candidate(NamedTuple):
    """One way to do a computation; it can be taken if `refusal` is None."""

    backend: str
    algorithm: str | None
    refusal: str | None


class Run(NamedTuple):
    """What carried out a call."""

    op: str
    direction: str
    backend: str
    algorithm: str | None
    isa: str | None  # of the C library; None for the other backends


class Plan:
    """A chosen kernel; calling it runs the kernel on arrays that fit the problem."""

    __slots__ = ("op", "problem", "direction", "backend", "algorithm", "module", "fixed",
                 "kernel")

    def __init__(self, op, problem, direction, candidate):
        self.op = op
        self.problem = problem
        self.direction = direction
        self.backend = candidate.backend
        self.algorithm = candidate.algorithm
        self.module = kernels.load(op, candidate.backend)
        self.fixed = [problem]
        if candidate.algorithm is not None and direction != "backward_bias":
            self.fixed.append(candidate.algorithm)
        self.kernel = self.reported(functools.partial(getattr(self.module, direction),
                                                      *self.fixed))

    def __call__(self, *arrays):
        """What the kernel returns: False where indices were outside a plane."""
        _last.plan = self
        return self.kernel(*arrays)

    def finished(self, activation) -> Callable:
        """What also adds a bias and applies an activation, as the public direction cannot."""
        kernel = getattr(self.module, f"{self.direction}_finished")
        kernel = self.reported(functools.partial(kernel, self.problem, self.algorithm, activation))

        def run(*arrays):
            ran(self)
            kernel(*arrays)

        run.plan = self
        return run

    def prepare(self, *arrays) -> Callable:
        """The fastest way to run it on arrays with the strides of these."""
        hook = getattr(self.module, f"prepare_{self.direction}", None)
        prepared = hook and hook(self.problem, self.algorithm, *arrays)
        if prepared is None:
            return self
        kernel = self.reported(prepared)

        def run(*arrays):
            kernel(*arrays)
            _last.plan = self

        return run

    def bind(self, *arrays) -> Callable:
        """What runs it on these very arrays, with as many threads as now."""
        return self.bound(*arrays) or functools.partial(self, *arrays)

    def bound(self, *arrays, **more) -> Callable | None:
        """That, if the kernel has a way of its own to do it; `more` is what else it is given."""
        hook = getattr(self.module, f"bind_{self.direction}", None)
        found = hook and hook(*self.fixed, *arrays, **more)
        return found and self.reported(found)

    def reported(self, kernel: Callable) -> Callable:
        """`kernel` itself; with ENGINE_VERBOSE=1, one that also writes a line per call."""
        if not _config.verbose:
            return kernel

        @functools.wraps(kernel, assigned=(), updated=())  # no part of a chain in C
        def timed(*arrays):
            start = time.perf_counter()
            result = kernel(*arrays)
            milliseconds = 1e3 * (time.perf_counter() - start)
            name = "/".join(filter(None, (self.backend, self.algorithm)))
            print(f"engine: {self.problem} {self.direction} {name} {milliseconds:.3f} ms",
                  file=sys.stderr)
            return result

        return timed


_last = threading.local()


def ran(plan: Plan) -> None:
    """Note that it has carried out a call of this thread."""
    _last.plan = plan


def last_run() -> Run | None:
    """What carried out the last kernel of this thread."""
    plan = getattr(_last, "plan", None)
    if plan is None:
        return None
    return Run(plan.op, plan.direction, plan.backend, plan.algorithm, _isa(plan.backend))


def _isa(backend: str) -> str | None:
    if backend != "c":
        return None
    from engine import _library

    return _library.get_isa()


def candidates(op: str, problem, direction: str, algorithm: str | None = None,
               backend: str | None = None) -> Iterator[Candidate]:
    """Every candidate in order of preference, each asked only when its turn comes."""
    for name in (backend,) if backend in ASKED_FOR else BACKENDS:
        if backend not in (None, name):
            yield Candidate(name, algorithm, f'backend="{backend}" was asked for')
            continue
        module = kernels.load(op, name)
        if isinstance(module, str):
            yield Candidate(name, algorithm, module)
            continue
        known = _algorithms(module, problem, direction)
        for each in known:
            if algorithm not in (None, each):
                yield Candidate(name, each, f'algorithm="{algorithm}" was asked for')
            else:
                yield Candidate(name, each, _refusal(module, problem, direction, each))
        if algorithm is not None and algorithm not in known:
            yield Candidate(name, algorithm, "it has no such algorithm")


def _algorithms(module, problem, direction: str) -> tuple[str | None, ...]:
    """Those of a backend, best first; pooling has one algorithm, which has no name."""
    if hasattr(module, "order"):
        return module.order(problem, _asked(direction))
    return getattr(module, "ALGORITHMS", (None,))


def _refusal(module, problem, direction: str, algorithm: str | None) -> str | None:
    if algorithm is None:
        return module.refusal(problem, direction)
    return module.refusal(problem, _asked(direction), algorithm)


def _asked(direction: str) -> str:
    """The bias gradient is plain sums: whoever can sum the other gradient can."""
    return "backward_weight" if direction == "backward_bias" else direction


@functools.lru_cache(maxsize=2048)
def _chosen(op, problem, direction, algorithm, backend) -> Plan:
    refused = []
    for candidate in candidates(op, problem, direction, algorithm, backend):
        if candidate.refusal is None:
            return Plan(op, problem, direction, candidate)
        refused.append(candidate)
    raise _check.refused(problem, direction, refused)


def choose(op: str, problem, direction: str, algorithm: str | None = None,
           backend: str | None = None) -> Plan | Callable:
    """The first candidate that can do it.

    Inside `explain` the request is noted instead and the answer does nothing when called.
    """
    mode = _config.mode.get()
    backend = backend or mode.backend
    if mode.record is None:
        return _chosen(op, problem, direction, algorithm, backend)
    mode.record.append((op, problem, direction, algorithm, backend))
    return lambda *arrays: None


@contextmanager
def noting():
    """Inside, nothing is computed; gives the list of what would be: arguments of `choose`."""
    mode = _config.Mode(_config.mode.get().backend, record=[])
    token = _config.mode.set(mode)
    try:
        yield mode.record
    finally:
        _config.mode.reset(token)


def of(call, direction: str) -> Plan | Callable:
    """The plan of a checked call, chosen once for all its repetitions."""
    plan = call.plans.get(direction)
    if plan is None:
        algorithm = None if direction == "backward_bias" else call.algorithm
        plan = choose(call.family, call.problem, direction, algorithm, call.backend)
        call.plans[direction] = plan
    return plan


def ready(call, direction: str, *arrays) -> Callable:
    """That plan as it runs fastest on arrays like these."""
    run = call.ready.get(direction)
    if run is None:
        plan = of(call, direction)
        run = plan.prepare(*arrays) if isinstance(plan, Plan) else plan
        call.ready[direction] = run
    return run


def packed(call, weight) -> PackedPlan | None:
    """What runs this forward with its weight packed beforehand, if the kernel can do that."""
    plan = of(call, "forward")
    pack = getattr(getattr(plan, "module", None), "pack_weight", None)
    held = pack and pack(plan.problem, plan.algorithm, weight)
    if held is None:
        return None
    return PackedPlan(plan, held)


class PackedPlan:
    """A plan of a forward convolution, with its weight packed beforehand."""

    def __init__(self, plan: Plan, held):
        self.plan, self.held = plan, held
        forward = plan.module.forward_packed
        self.kernel = plan.reported(lambda x, _, bias, y: forward(*plan.fixed, x, held, bias, y))

    def __call__(self, *arrays):
        self.kernel(*arrays)
        _last.plan = self.plan

    def bind(self, x, _, bias, y) -> Callable:
        """As `Plan.bind`."""
        return self.bound(x, _, bias, y) or functools.partial(self, x, None, bias, y)

    def bound(self, x, _, bias, y, **more) -> Callable | None:
        """As `Plan.bound`."""
        hook = getattr(self.plan.module, "bind_packed", None)
        found = hook and hook(*self.plan.fixed, x, self.held, bias, y, **more)
        return found and self.plan.reported(found)


def clear() -> None:
    """Forget every choice (for whoever changes what the kernels can do, as tests of ISAs do)."""
    _recall.calls.clear()
    _recall.steps.clear()
    _chosen.cache_clear()
    kernels.load.cache_clear()
