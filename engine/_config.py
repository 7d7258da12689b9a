"""The settings in force: threads, the backend, and the ENGINE_* environment variables.

The environment is read once, when `engine` is imported; ENGINE_ISA is read by `_library`.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import NamedTuple

from engine import _check
from engine.kernels import ASKED_FOR, BACKENDS


class Mode(NamedTuple):
    """How calls of this context are carried out."""

    backend: str | None = None  # the only backend allowed, or None for the best that can
    record: list | None = None  # explain() collects here what would run, and nothing runs


def available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads_from_environment() -> int:
    text = os.environ.get("ENGINE_NUM_THREADS", "").strip()
    if not text:
        return available_cpus()
    return _check.environment("ENGINE_NUM_THREADS", text, text.isdecimal() and int(text),
                              "a positive integer")


def _mode_from_environment() -> Mode:
    known = (*BACKENDS, *ASKED_FOR)
    name = os.environ.get("ENGINE_BACKEND", "").strip() or None
    return Mode(name and _check.environment("ENGINE_BACKEND", name, name in known and name,
                                            f"one of {', '.join(known)}"))


def _limit_from_environment() -> int | None:
    text = os.environ.get("ENGINE_WORKSPACE_LIMIT", "").strip()
    if not text:
        return None
    number = text.upper().removesuffix("B").removesuffix("I")
    power = "KMGT".find(number[-1:]) + 1 if number else 0
    digits = number[:-1] if power else number
    return _check.environment("ENGINE_WORKSPACE_LIMIT", text,
                              digits.isdecimal() and int(digits) << (10 * power),
                              "a number of bytes, as 2000000, 512M or 2GiB")


verbose = os.environ.get("ENGINE_VERBOSE", "").strip() not in ("", "0")
_mode = _mode_from_environment()
workspace_limit = _limit_from_environment()  # bytes of scratch in one piece, or None
mode: ContextVar[Mode] = ContextVar("engine_mode", default=_mode)

default_threads = _threads_from_environment()
context_threads: ContextVar[int | None] = ContextVar("engine_threads", default=None)


def num_threads() -> int:
    """How many threads one call may use in this context."""
    return context_threads.get() or default_threads


get_num_threads = num_threads
