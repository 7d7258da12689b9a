"""``python -m bench calls``: what a small call costs from Python."""

from __future__ import annotations

import click

from bench import machine, options
from bench.bystanders import busy
from bench.cases import cases
from bench.layers import load
from bench.team import Contestant, Team

WAYS = (("engine", "nchw"), ("engine", "plan"), ("engine", "plan out"), ("torch", "nchw"),
        ("torch", "nhwc"), ("onnxruntime", "nchw"))
MEANING = {"engine nchw": "engine.conv2d(x, weight, padding=...)",
           "engine plan": "plan(x) of engine.plan_conv2d",
           "engine plan out": "plan(x, out=y)",
           "torch nchw": "torch.nn.functional.conv2d",
           "torch nhwc": "the same, channels_last",
           "onnxruntime nchw": "session.run"}


@click.command()
@options.threads
@click.option("--layers", default="^lenet.conv1$", show_default=True, metavar="REGEX",
              help="Layers of the panel.")
@options.backend
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True)
def calls(threads, layers, backend, rounds) -> None:
    """Measure whole Python calls on the smallest layer, N=1, in microseconds."""
    click.echo(machine.headline())
    for count in threads:
        with Team([Contestant(*way, count) for way in WAYS], backend) as team:
            click.echo("; ".join(team.versions.values()))
            for case in cases(load("panel", only=layers), ["forward"], [1], "float32"):
                click.echo(f"\n{case}, {count} thread{'s' * (count > 1)}: microseconds a call, "
                           f"minimum over {rounds} rounds (and median of the medians)")
                for contestant, outcome in team.race(case, rounds).items():
                    click.echo(_line(str(contestant), outcome))
                click.echo("".join(busy([team.bystanders.share])))


def _line(label: str, outcome) -> str:
    if outcome.refusal:
        return f"  {label:18} {MEANING[label]:40} {outcome.refusal}"[:120]
    medians = sorted(outcome.medians)
    return (f"  {label:18} {MEANING[label]:40} {1e6 * outcome.minimum:8.2f} "
            f"({1e6 * medians[len(medians) // 2]:.2f})  {outcome.ran}"
            + (f"  *** MISMATCH: {outcome.mismatch}" if outcome.mismatch else "")).rstrip()
