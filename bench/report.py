"""Figures as JSON and as plain text tables."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from math import exp, inf, log
from pathlib import Path
from statistics import median

import click

from bench.bystanders import busy
from bench.cases import CONV_OPS, Case
from bench.peaks import Peaks
from bench.peers import PEERS
from bench.team import Contestant, Outcome

TOO_SLOW = 0.95  # a layer below this share of the best peer's speed is named
NAME, TIME, FIGURE = 24, 8, 6  # column widths


class Report:
    """Everything a run found; a JSON file holds the same."""

    def __init__(self, machine: dict, versions: dict | None = None, peaks: list | None = None,
                 records: list | None = None):
        self.machine = machine
        self.versions = versions or {}
        self.peaks = peaks or []
        self.records = records or []

    def save(self, path: str) -> None:
        Path(path).write_text(json.dumps(vars(self), indent=1) + "\n")

    @classmethod
    def load(cls, *paths: str) -> Report:
        """Several runs as one: where they measured the same, the later file holds."""
        runs = [cls(**json.loads(Path(path).read_text())) for path in paths]
        merged: dict[tuple, dict] = {}
        for each in (r for run in runs for r in run.records):
            old = merged.setdefault(_key(each), each)
            old["results"].update(each["results"])
        last = runs[-1]
        versions = {peer: text for run in runs for peer, text in run.versions.items()}
        return cls(last.machine, versions, [p for run in runs for p in run.peaks],
                   list(merged.values()))


def _key(record: dict) -> tuple:
    return record["layer"], record["op"], record["problem"], record["threads"]


def record(case: Case, peaks: Peaks, outcomes: dict[Contestant, Outcome],
           others: float | None) -> dict:
    """One case as JSON holds it: times in seconds, and the share of the CPUs others used."""
    return {"layer": case.layer, "op": case.op, "problem": str(case.problem),
            "dtype": case.problem.dtype.name, "n": case.problem.n, "threads": peaks.threads,
            "flops": case.flops, "bytes": sum(case.traffic), "floor": peaks.floor(case),
            "others": others,
            "results": {str(c): _result(o) for c, o in outcomes.items()}}


def _result(outcome: Outcome) -> dict:
    result = {"seconds": None if outcome.minimum == inf else outcome.minimum,
              "median": median(outcome.medians) if outcome.medians else None}
    notes = {"ran": outcome.ran, "refusal": outcome.refusal, "mismatch": outcome.mismatch}
    return result | {name: text for name, text in notes.items() if text}


def seconds(record: dict, label: str) -> float | None:
    return record["results"].get(label, {}).get("seconds")


def best(record: dict, peer: str) -> float | None:
    """Seconds of the peer's fastest memory order."""
    times = [seconds(record, f"{peer} {order}") for order in PEERS[peer].orders]
    return min((t for t in times if t), default=None)


def over(slow: float | None, fast: float | None) -> float | None:
    return slow / fast if slow and fast else None


class Table:
    """One operation at one N and thread count: a row per layer, then what they come to."""

    def __init__(self, labels: list[str]):
        self.labels = labels
        peers = list(dict.fromkeys(label.split()[0] for label in labels))
        self.ours = [label for label in labels if label.split()[0] == "engine"]
        self.rivals = [peer for peer in peers if peer != "engine"]
        # Their best order gets one column, and ratios only in the summary.
        self.pooled = [peer for peer in self.rivals if peer == "torch-as-installed"]
        self.main_rivals = [peer for peer in self.rivals if peer not in self.pooled]
        self.records: list[dict] = []

    def row(self, record: dict) -> str:
        """The layer's line, after the heading if it is the first, and before any complaint."""
        heading = [] if self.records else self._heading(record)
        self.records.append(record)
        cells = [f"{record['layer']:{NAME}.{NAME}}", _time(record["floor"])]
        cells += [_time(seconds(record, label)) for label in self._own_columns()]
        cells += [_time(best(record, peer)) for peer in self.pooled]
        main = seconds(record, self.ours[0])
        work = record["flops"] or record["bytes"]
        cells += [_rate(1e-9 * work / main if main else None), _figure(over(main, record["floor"]))]
        cells += [_figure(over(best(record, peer), seconds(record, label)))
                  for label in self.ours for peer in self.main_rivals]
        return "\n".join([*heading, "".join(cells).rstrip(), *_complaints(record)])

    def summary(self) -> str:
        """Geometric means and the slow layers: against the better order of each rival, and each."""
        lines = []
        for label in self.ours:
            ran = Counter(r["results"][label].get("ran", "nothing") for r in self.records)
            lines.append(f"{label} ran " + ", ".join(f"{k} {n}x" for k, n in ran.most_common()))
            for peer in self.rivals:
                lines += self._against(label, peer)
        return "\n".join(lines + self._noise())

    def _against(self, label: str, peer: str) -> list[str]:
        ratios = {r["layer"]: ratio for r in self.records
                  if (ratio := over(best(r, peer), seconds(r, label)))}
        if not ratios:
            return []
        worst = min(ratios, key=ratios.get)
        line = (f"{label} over {peer}: geometric mean {geometric_mean(ratios.values()):.2f}, "
                f"least {ratios[worst]:.2f} ({worst})")
        if len(PEERS[peer].orders) > 1:
            line += "; over " + ", ".join(self._against_one(label, f"{peer} {order}")
                                          for order in PEERS[peer].orders)
        slow = [f"{layer} {ratio:.2f}" for layer, ratio in ratios.items() if ratio < TOO_SLOW]
        return [line, *_wrapped(f"  under {TOO_SLOW}: ", slow)]

    def _against_one(self, label: str, rival: str) -> str:
        ratios = [ratio for r in self.records
                  if (ratio := over(seconds(r, rival), seconds(r, label)))]
        name = rival.split()[1]
        return f"{name} {geometric_mean(ratios):.2f}" if ratios else f"no {name}"

    def _noise(self) -> list[str]:
        """How far a usual call was from the least one: what a difference must exceed to count."""
        ratios = {f"{r['layer']}, {label}": over(result["median"], result["seconds"])
                  for r in self.records for label, result in r["results"].items()
                  if result["seconds"]}
        if not ratios:
            return []
        worst = max(ratios, key=ratios.get)
        return [f"noise, median over least time: geometric mean "
                f"{geometric_mean(ratios.values()):.2f}, most {ratios[worst]:.2f} ({worst})",
                *busy([r.get("others") for r in self.records])]

    def _own_columns(self) -> list[str]:
        return [label for label in self.labels if label.split()[0] not in self.pooled]

    def _heading(self, record: dict) -> list[str]:
        batch = f", N={record['n']}" if record["op"] in CONV_OPS else ""
        threads = f"{record['threads']} thread{'s' * (record['threads'] > 1)}"
        title = (f"\n{record['op']}, {record['dtype']}{batch}, {threads}: ms a call; "
                 f"{'GFLOP/s' if record['flops'] else 'GB/s'}, time over floor, "
                 "speed over each peer's best")
        columns = [(label.split()[0], label.split()[1]) for label in self._own_columns()]
        columns = [("", "floor")] + [(PEERS[peer].short, order) for peer, order in columns]
        columns += [(PEERS[peer].short, "best") for peer in self.pooled]
        figures = [("", "GF/s" if record["flops"] else "GB/s"), ("over", "floor")]
        figures += [(label.split()[1] + "/", PEERS[peer].short)
                    for label in self.ours for peer in self.main_rivals]
        return [title] + [
            "".join(["layer".ljust(NAME) if i else " " * NAME,
                     *(f"{c[i]:>{TIME}}" for c in columns), *(f"{f[i]:>{FIGURE}}"[-FIGURE:]
                                                             for f in figures)]).rstrip()
            for i in (0, 1)]


def geometric_mean(values) -> float:
    values = list(values)
    return exp(sum(map(log, values)) / len(values))


def _time(value: float | None) -> str:
    """Milliseconds to three digits or more."""
    if value is None:
        return f"{'-':>{TIME}}"
    ms = 1e3 * value
    return f"{ms:{TIME}.{4 if ms < 0.1 else 3 if ms < 10 else 2 if ms < 1000 else 0}f}"


def _rate(value: float | None) -> str:
    return f"{'-':>{FIGURE}}" if value is None else f"{value:{FIGURE}.{0 if value >= 100 else 1}f}"


def _figure(value: float | None) -> str:
    return f"{'-':>{FIGURE}}" if value is None else f"{value:{FIGURE}.{2 if value < 100 else 0}f}"


def _complaints(record: dict) -> list[str]:
    """Wrong results and failures, which must not drown in a table."""
    found = [(label, result) for label, result in record["results"].items()]
    lines = [f"  *** MISMATCH: {label} {result['mismatch']} (against the first contestant)"
             for label, result in found if "mismatch" in result]
    return lines + [f"  *** {label} {result['refusal']}"[:118] for label, result in found
                    if label.startswith("engine") and "refusal" in result
                    or result.get("refusal", "").startswith("FAILED")]


def _wrapped(start: str, items: list[str], width: int = 118) -> list[str]:
    """``start`` and the items, in lines of limited width; nothing if there are none."""
    lines, line = [], start
    for item in items:
        if len(line) + len(item) > width:
            lines.append(line.rstrip())
            line = " " * len(start)
        line += item + ", "
    return [*lines, line.rstrip(", ")] if items else []


def print_records(records: list[dict]) -> None:
    """A table per operation, thread count and N, as the run that measured them printed it."""
    def group(r: dict) -> tuple:
        return r["op"], r["dtype"], r["threads"], r["n"] if r["op"] in CONV_OPS else None

    for _, rows in groupby(records, key=group):
        rows = list(rows)
        table = Table(list(dict.fromkeys(label for r in rows for label in r["results"])))
        for row in rows:
            click.echo(table.row(row))
        click.echo(table.summary())


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def table(files: tuple[str, ...]) -> None:
    """Print the tables of JSON files that compare wrote; several files count as one run."""
    report = Report.load(*files)
    m = report.machine
    click.echo(f"{m['cpu']} ({m['cpu_family_model']}), commit {m['commit']}, {m['date']}; "
               + "; ".join(report.versions.values()))
    print_records(report.records)
