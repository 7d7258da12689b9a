"""``python -m bench compare``: engine beside its peers, layer by layer."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby

import click

from bench import machine, options
from bench import peaks as ceilings
from bench.cases import CONV_OPS, POOL_OPS, Case, cases
from bench.layers import load
from bench.peers import PEERS
from bench.report import Report, Table, record
from bench.team import Contestant, Team


@click.command()
@click.option("--ops", type=options.Comma(), default=",".join((*CONV_OPS, "pool")),
              show_default=True, help=f"pool stands for {', '.join(POOL_OPS)}.")
@click.option("--batch", type=options.Comma(int), default="1,8", show_default=True,
              help="N of the convolutions; a pooling's line gives its own.")
@options.threads
@options.shapes
@options.layers
@options.dtype
@options.backend
@click.option("--against", type=options.Comma(), default="torch,onnxruntime", show_default=True,
              help=f"Any of {', '.join(PEERS)}; empty for engine alone.")
@click.option("--as-installed", is_flag=True, help="Also PyTorch with malloc as it is installed.")
@click.option("--layouts", type=options.Comma(), default="nchw", show_default=True,
              help="Memory orders of engine's input: nchw, nhwc or both. Peers run in all theirs.")
@options.rounds
@click.option("--json", "path", type=click.Path(dir_okay=False, writable=True),
              help="Write all figures to this file.")
def compare(ops, batch, threads, shapes, layers, dtype, backend, against, as_installed, layouts,
            rounds, path) -> None:
    """Put engine beside other libraries on named layers."""
    against = against + ["torch-as-installed"] * as_installed
    todo = select(ops, batch, shapes, layers, dtype)
    log = Report(machine.describe())
    click.echo(machine.headline())
    try:
        for count in threads:
            race_all(todo, contestants(layouts, against, count), rounds, backend, log)
    finally:
        if path:
            log.save(path)


def select(ops, batch, shapes, layers, dtype) -> list[Case]:
    """The cases those options name."""
    expanded = [op for name in ops for op in (POOL_OPS if name == "pool" else (name,))]
    if unknown := set(expanded) - {*CONV_OPS, *POOL_OPS}:
        raise click.BadParameter(f"no such operation: {', '.join(sorted(unknown))}")
    try:
        found = cases(load(*shapes, only=layers), expanded, batch, dtype)
    except (ValueError, TypeError) as error:
        raise click.ClickException(str(error)) from None
    if not found:
        raise click.ClickException("no layer matches")
    return found


def contestants(layouts: list[str], against: list[str], threads: int) -> list[Contestant]:
    """Engine first: everyone's results are held against its."""
    if unknown := set(against) - set(PEERS):
        raise click.BadParameter(f"no such peer: {', '.join(sorted(unknown))}")
    ours = [Contestant("engine", order, threads) for order in layouts]
    return ours + [Contestant(peer, order, threads) for peer in against
                   for order in PEERS[peer].orders]


def race_all(todo: list[Case], entrants: list[Contestant], rounds: int, backend: str | None,
             log: Report) -> None:
    """Race every case, printing a table per operation and N as it grows, and log the figures."""
    peaks = ceilings.measure(entrants[0].threads)
    log.peaks.append(asdict(peaks))
    click.echo("\n".join(ceilings.lines(peaks)))
    with Team(entrants, backend) as team:
        log.versions.update(team.versions)
        click.echo("; ".join(team.versions.values()))
        for _, group in groupby(todo, key=_table_of):
            table = Table([str(entrant) for entrant in entrants])
            for case in group:
                outcomes = team.race(case, rounds)
                log.records.append(record(case, peaks, outcomes, team.bystanders.share))
                click.echo(table.row(log.records[-1]))
            click.echo(table.summary())


def _table_of(case: Case) -> tuple:
    return case.op, case.problem.n if case.op in CONV_OPS else None
