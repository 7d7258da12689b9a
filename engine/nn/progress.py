"""The progress bar of `fit`: drawn by `rich` where that is installed, silent elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager


class Silent:
    """Shows nothing."""

    def advance(self, **values: float) -> None:
        pass

    def end_epoch(self, logs: dict[str, float]) -> None:
        pass


class RichBar(Silent):
    """A bar over the batches of an epoch, and above it one line for each finished epoch."""

    def __init__(self, rich_progress, epochs: int, steps: int | None, epoch: int, step: int):
        self.rich, self.epochs = rich_progress, epochs
        self.epoch, self.step, self.shown = epoch, step, 0.0
        self.started = time.perf_counter()
        self.task = rich_progress.add_task("", total=steps, values="")

    def advance(self, **values):
        self.step += 1
        now = time.perf_counter()
        if now - self.shown > 0.1:  # a terminal needs no more
            self.shown = now
            self.rich.update(self.task, completed=self.step, values=_text(values),
                             description=f"epoch {self.epoch + 1}/{self.epochs}")

    def end_epoch(self, logs):
        now = time.perf_counter()
        self.rich.console.print(f"epoch {self.epoch + 1}/{self.epochs}  {_text(logs)}  "
                                f"{now - self.started:.1f} s", highlight=False,
                                soft_wrap=True)
        self.epoch, self.step, self.started = self.epoch + 1, 0, now


@contextmanager
def progress_bar(wanted: bool, epochs: int, steps: int | None, epoch: int = 0, step: int = 0):
    """A RichBar while the ``with`` block runs, or a Silent one; it starts where it is told to."""
    try:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        wanted = False
    if not wanted:
        yield Silent()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[values]}"),
               TimeRemainingColumn())
    with Progress(*columns, refresh_per_second=4, transient=True) as rich_progress:
        yield RichBar(rich_progress, epochs, steps, epoch, step)


def _text(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
