"""A process in which one peer computes: ``python -m bench.worker MODULE THREADS``.

It answers pickled requests from standard input on standard output, one at a time, and sleeps on
the pipe in between.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import traceback

from bench import timing


class Bench:
    """The requests a worker answers; each method is one."""

    def __init__(self, module: str, threads: int):
        self.peer = importlib.import_module(f"bench.peers.{module}")
        self.peer.start(threads)
        self.prepared: dict[str, object] = {}

    def version(self) -> str:
        return self.peer.version()

    def prepare(self, case, variant: str):
        """Set the case up and run it once; its results and the kernel that ran."""
        call = self.peer.prepare(case, variant, case.inputs())
        results = self.peer.arrays(call())
        self.prepared[variant] = call
        return results, self.peer.ran()

    def measure(self, variant: str) -> tuple[float, float]:
        return timing.per_call(self.prepared[variant])

    def forget(self) -> None:
        self.prepared.clear()


def main() -> None:
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up in a reply
    bench = Bench(sys.argv[1], int(sys.argv[2]))
    while True:
        try:
            method, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = ("done", getattr(bench, method)(*arguments))
        except ValueError as refusal:
            reply = ("refused", str(refusal))
        except Exception:
            reply = ("failed", traceback.format_exc())
        pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
        replies.flush()


if __name__ == "__main__":
    main()
