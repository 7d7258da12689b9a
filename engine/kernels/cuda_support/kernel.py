"""A kernel: its source, and what its launch needs to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# Annotations of the parameters of a kernel: arrays are passed as plain addresses.
ADDRESS = I32 = I64 = int
F64 = float


@dataclass(frozen=True, eq=False)
class Kernel:
    """`function`, to be run by `threads` threads a block, that many blocks on a multiprocessor."""

    name: str  # with the constants of its template: two kernels of one name are the same
    function: Callable
    threads: int
    blocks_per_sm: int = 1

    @property
    def parameters(self) -> tuple[str, ...]:
        """The annotation of every parameter, by name."""
        return tuple(self.function.__annotations__.values())
