"""The worker processes of a comparison, and their turns."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.bystanders import Bystanders
from bench.cases import Case
from bench.networks import NetworkCase
from bench.peers import PEERS, Peer

# Between two turns: OpenMP threads spin for a while after their work.
PAUSE_SECONDS = 0.05
THREAD_VARIABLES = ("ENGINE_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                    "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Refused(Exception):
    """A peer cannot do a case, or failed on it."""


@dataclass(frozen=True)
class Contestant:
    """A peer in one of its variants, with that many threads."""

    peer: str
    variant: str
    threads: int

    def __str__(self) -> str:
        return f"{self.peer} {self.variant}"


@dataclass
class Outcome:
    """What one contestant did on one case."""

    minimum: float = float("inf")  # seconds per call, over all rounds
    medians: list[float] = field(default_factory=list)  # of each round
    ran: str = ""
    refusal: str = ""
    mismatch: str = ""


class Worker:
    def __init__(self, peer: Peer, threads: int, environment: dict[str, str]):
        self.peer = peer
        self.failures: set[str] = set()
        self.command = [sys.executable, "-m", "bench.worker", peer.module, str(threads)]
        settings = dict.fromkeys(THREAD_VARIABLES, str(threads))
        self.environment = {**os.environ, **settings, **peer.environment, **environment}
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            self.command, cwd=Path(__file__).parent.parent, env=self.environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, method: str, *arguments):
        """The answer; Refused if there is none, with a new process if that one died."""
        try:
            pickle.dump((method, arguments), self.process.stdin)
            self.process.stdin.flush()
            status, value = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError):
            self.close()
            status, value = "failed", f"the process died with code {self.process.returncode}"
            self._start()
        if status == "refused":
            raise Refused(value)
        if status == "failed":
            if value not in self.failures:  # the same one on every layer is shown once
                print(f"{self.peer.module}: {method} failed\n{value}", file=sys.stderr)
                self.failures.add(value)
            raise Refused(f"FAILED: {value.splitlines()[-1]}")
        return value

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # what a dead process never read
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Team:
    """The workers of these contestants; one computes while the others wait on their pipes."""

    def __init__(self, contestants: Iterable[Contestant], backend: str | None = None,
                 peers: dict[str, Peer] = PEERS):
        self.contestants = list(contestants)
        self.bystanders = Bystanders()  # of the last race
        self.workers: dict[tuple[str, int], Worker] = {}
        for c in self.contestants:
            if (c.peer, c.threads) not in self.workers:
                forced = {"ENGINE_BACKEND": backend} if backend and c.peer == "engine" else {}
                self.workers[c.peer, c.threads] = Worker(peers[c.peer], c.threads, forced)
        self.versions = {peers[peer].module: worker.ask("version")
                         for (peer, _), worker in self.workers.items()}

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_) -> None:
        for worker in self.workers.values():
            worker.close()

    def worker(self, contestant: Contestant) -> Worker:
        return self.workers[contestant.peer, contestant.threads]

    def race(self, case: Case | NetworkCase, rounds: int) -> dict[Contestant, Outcome]:
        """Prepare and check everyone, then let each compute in its turn, round after round."""
        self.bystanders = Bystanders()
        outcomes = self._prepare(case)
        for _ in range(rounds):
            for contestant, outcome in outcomes.items():
                if not outcome.refusal:
                    time.sleep(PAUSE_SECONDS)
                    self._turn(contestant, outcome)
        for worker in self.workers.values():
            worker.ask("forget")
        return outcomes

    def _turn(self, contestant: Contestant, outcome: Outcome) -> None:
        worker = self.worker(contestant)
        try:
            with self.bystanders.watch([worker.process.pid]):
                least, median = worker.ask("measure", contestant.variant)
        except Refused as refusal:
            outcome.refusal = str(refusal)
            return
        outcome.minimum = min(outcome.minimum, least)
        outcome.medians.append(median)

    def _prepare(self, case: Case | NetworkCase) -> dict[Contestant, Outcome]:
        reference = None  # the first contestant's results; everyone must agree with them
        outcomes = {}
        for contestant in self.contestants:
            outcome = outcomes[contestant] = Outcome()
            try:
                results, outcome.ran = self.worker(contestant).ask(
                    "prepare", case, contestant.variant)
            except Refused as refusal:
                outcome.refusal = str(refusal)
                continue
            if reference is None:
                reference = results
            outcome.mismatch = _difference(reference, results, case)
        return outcomes


def _difference(expected: list[np.ndarray], found: list[np.ndarray],
                case: Case | NetworkCase) -> str:
    """What is wrong with the results, or ""."""
    for a, b in zip(expected, found, strict=True):
        if a.shape != b.shape:
            return f"shape {b.shape}, expected {a.shape}"
        if a.dtype.kind in "iu":
            if (wrong := np.count_nonzero(a != b)):
                return f"{wrong} of {a.size} positions differ"
            continue
        wide = np.float64 if case.dtype == "float64" else np.float32
        a, b = np.asarray(a, wide), np.asarray(b, wide)
        worst = float(np.max(np.abs(a - b), initial=0)) / (float(np.max(np.abs(a), initial=0)) or 1)
        if not worst <= case.tolerance:
            return f"differs by {worst:.1e} of the largest value"
    return ""
