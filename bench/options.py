"""Command-line options that several commands share."""

from __future__ import annotations

import click

from bench import machine


class Comma(click.ParamType):
    """A comma-separated list: of words, or of whole numbers."""

    name = "list"

    def __init__(self, item: type = str):
        self.item = item

    def convert(self, value, param, context):
        if isinstance(value, list):
            return value
        try:
            return [self.item(part) for part in value.split(",") if part]
        except ValueError:
            self.fail(f"{value} is not a comma-separated list of numbers", param, context)


def thread_counts() -> list[int]:
    return sorted({1, machine.usable_cpus()})


threads = click.option("--threads", type=Comma(int), default=thread_counts,
                       show_default="one, and all", help="Thread counts.")
shapes = click.option("--shapes", type=Comma(), default="panel", show_default=True,
                      help="Files of bench/shapes.")
layers = click.option("--layers", default="", metavar="REGEX", help="Only layers of such names.")
dtype = click.option("--dtype", default="float32", show_default=True,
                     help="Also float64, bfloat16, float16.")
backend = click.option("--backend", help="Hold engine to one backend: c, numba or numpy.")
rounds = click.option("--rounds", type=click.IntRange(1), default=5, show_default=True,
                      help="Turns of each contestant; the least time counts.")
