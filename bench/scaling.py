"""``python -m bench scaling``: what more threads gain."""

from __future__ import annotations

import click

from bench import machine, options
from bench.bystanders import busy
from bench.compare import select
from bench.report import geometric_mean
from bench.team import Contestant, Team

LARGE = 100e6  # FLOP; below it, waking a thread is part of the time


@click.command()
@click.option("--ops", type=options.Comma(), default="forward,backward_data,backward_weight",
              show_default=True)
@click.option("--batch", type=options.Comma(int), default="1,8", show_default=True)
@options.threads
@options.shapes
@options.layers
@options.dtype
@options.backend
@options.rounds
def scaling(ops, batch, threads, shapes, layers, dtype, backend, rounds) -> None:
    """Measure engine's most threads over one, on convolutions above 100 MFLOP."""
    todo = [case for case in select(ops, batch, shapes, layers, dtype) if case.flops > LARGE]
    if not todo:
        raise click.ClickException(f"no layer above {LARGE / 1e6:.0f} MFLOP matches")
    one, many = (Contestant("engine", "nchw", count) for count in (1, max(threads)))
    if many.threads == 1:
        raise click.ClickException("one thread does not scale: --threads must name more")
    gains, shares = {}, []
    click.echo(machine.headline())
    click.echo(f"{'layer':25}{'direction':17}{'N':>3}{'1 thread':>12}{many.threads:>6} threads"
               f"{'gain':>7}")
    with Team([one, many], backend) as team:
        for case in todo:
            outcomes = team.race(case, rounds)
            shares.append(team.bystanders.share)
            name = f"{case.layer:25}{case.op:17}{case.problem.n:3}"
            if refusal := outcomes[one].refusal or outcomes[many].refusal:
                click.echo(f"{name}  {refusal}"[:120])
                continue
            slow, fast = outcomes[one].minimum, outcomes[many].minimum
            gains[f"{case.layer} {case.op} N={case.problem.n}"] = gain = slow / fast
            click.echo(f"{name}{1e3 * slow:9.3f} ms{1e3 * fast:11.3f} ms{gain:7.2f}"
                       f"  {outcomes[many].ran}" + "  *** MISMATCH" * bool(outcomes[many].mismatch))
    if not gains:
        return
    worst = min(gains, key=gains.get)
    click.echo(f"geometric mean {geometric_mean(gains.values()):.2f}, "
               f"least {gains[worst]:.2f} ({worst})")
    click.echo("".join(busy(shares)))
