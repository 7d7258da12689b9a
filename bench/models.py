"""``python -m bench models``: whole networks beside PyTorch and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable

import click

from bench import machine, options
from bench.bystanders import busy
from bench.networks import NetworkCase
from bench.peers import NETWORK_PEERS
from bench.report import geometric_mean
from bench.team import Contestant, Outcome, Team

# The speed over the better of the peers that is asked of each, with two threads.
INFERENCE = {"lenet5": 2, "alexnet_torchvision": 1.3, "vgg16": 1.3, "googlenet": 1.3,
             "resnet50": 1, "squeezenet1_1": 1.2}
TRAINING = {("lenet5", 64): 3, ("resnet20", 64): 1.3, ("vgg16", 8): 1.3}


@click.command()
@click.option("--train", is_flag=True, help="A step of training, N=64 or 8, instead of inference.")
@click.option("--networks", type=options.Comma(), default="",
              help=f"Any of {', '.join(INFERENCE)}; with --train of "
                   f"{', '.join(name for name, _ in TRAINING)}.  [default: all]")
@click.option("--batch", type=options.Comma(int), default="1,8", show_default=True,
              help="N of inference.")
@options.threads
@options.rounds
def models(train, networks, batch, threads, rounds) -> None:
    """Measure inference of compiled networks, or their training."""
    targets = TRAINING if train else {(name, n): target for n in batch
                                      for name, target in INFERENCE.items()}
    if unknown := set(networks) - {name for name, _ in targets}:
        raise click.BadParameter(f"no such network: {', '.join(sorted(unknown))}")
    todo = {NetworkCase(name, n, train): target for (name, n), target in targets.items()
            if not networks or name in networks}
    click.echo(machine.headline())
    for count in threads:
        contestants = [Contestant(peer, variant, count) for peer, known in NETWORK_PEERS.items()
                       for variant in known.orders if not (train and peer == "onnxruntime")]
        with Team(contestants, peers=NETWORK_PEERS) as team:
            click.echo("; ".join(team.versions.values()))
            for line in table(team, todo, count, rounds):
                click.echo(line)


def table(team: Team, todo: dict[NetworkCase, float], threads: int,
          rounds: int) -> Iterable[str]:
    """A line per case as it is done, under a heading and above the mean."""
    yield (f"\n{threads} thread{'s' * (threads > 1)}: ms, minimum over {rounds} rounds; speed "
           "over the better peer (and what it should be with 2 threads)")
    yield f"{'network':22}{'N':>3}" + "".join(f"{str(c):>17}" for c in team.contestants)
    ratios, shares = [], []
    for case, target in todo.items():
        outcomes = team.race(case, rounds)
        shares.append(team.bystanders.share)
        yield f"{case.network:22}{case.n:3}" + "".join(map(_cell, outcomes.values())) + (
            f"{_ratio(outcomes):8.2f}  ({target})")
        ratios.append(_ratio(outcomes))
        for contestant, outcome in outcomes.items():
            if outcome.mismatch or outcome.refusal:
                yield f"  *** {contestant}: {outcome.mismatch or outcome.refusal}"
    yield f"geometric mean {geometric_mean(ratios):.2f}"
    yield from busy(shares)


def _cell(outcome: Outcome) -> str:
    return f"{'-':>17}" if outcome.refusal else f"{1e3 * outcome.minimum:17.3f}"


def _ratio(outcomes: dict[Contestant, Outcome]) -> float:
    """The speed of engine over that of the fastest peer."""
    ours = outcomes[next(iter(outcomes))].minimum
    return min(outcome.minimum for c, outcome in outcomes.items() if c.peer != "engine") / ours
