"""``python -m bench roofline``: time over floor per layer as a picture."""

from __future__ import annotations

import click

from bench import machine, options
from bench.bystanders import busy
from bench.cases import CONV_OPS, POOL_OPS
from bench.compare import contestants, race_all, select
from bench.report import Report, best, over

# Marker and colour of each peer that is drawn.
SERIES = {"engine": ("o", "tab:blue"), "torch": ("x", "tab:orange"),
          "onnxruntime": ("+", "tab:green")}


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.option("-o", "--output", default="roofline.png", show_default=True,
              type=click.Path(dir_okay=False, writable=True))
@click.option("--ops", type=options.Comma(), default=",".join(CONV_OPS), show_default=True)
@click.option("--batch", type=options.Comma(int), default="8", show_default=True)
@options.threads
@options.shapes
@options.layers
@options.dtype
@options.backend
@options.rounds
def roofline(files, output, ops, batch, threads, shapes, layers, dtype, backend, rounds) -> None:
    """Draw time over floor per layer: of FILES that compare wrote, or of engine measured now."""
    if files:
        report = Report.load(*files)
    else:
        report = Report(machine.describe())
        todo = select(ops, batch, shapes, layers, dtype)
        race_all(todo, contestants(["nchw"], [], threads[-1]), rounds, backend, report)
    draw(report, output)
    click.echo(f"wrote {output}")


def draw(report: Report, output: str) -> None:
    """A panel per operation, N and thread count; a dot per layer for engine and its peers."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = _groups(report.records)
    rows = max(len(records) for records in groups.values())
    figure, panels = plt.subplots(1, len(groups), squeeze=False, layout="constrained",
                                  figsize=(2.2 + 3.4 * len(groups), 1.6 + 0.24 * rows))
    for axes, (title, records) in zip(panels[0], groups.items(), strict=True):
        _panel(axes, title, records)
    m = report.machine
    title = [f"Time over floor: {m['cpu']}, commit {m['commit']}, {m['date']}"]
    title += busy([r.get("others") for r in report.records])
    figure.suptitle("\n".join(title), fontsize=10)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=len(SERIES), fontsize=8)
    figure.savefig(output, dpi=130)
    plt.close(figure)


def _groups(records: list[dict]) -> dict[str, list[dict]]:
    """Records by the title of their panel."""
    groups: dict[str, list[dict]] = {}
    for r in records:
        batch = "" if r["op"] in POOL_OPS else f", N={r['n']}"
        groups.setdefault(f"{r['op']}{batch}, {r['threads']} thr., {r['dtype']}", []).append(r)
    return groups


def _panel(axes, title: str, records: list[dict]) -> None:
    places = range(len(records))
    axes.axvline(1, color="0.4", linewidth=1)
    for peer, (marker, colour) in SERIES.items():
        values = [over(best(r, peer), r["floor"]) for r in records]
        axes.plot([v or float("nan") for v in values], places, marker, color=colour,
                  linestyle="", label=peer)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(places, [r["layer"] for r in records], fontsize=7)
    axes.invert_yaxis()
    axes.grid(axis="both", color="0.9")
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("time / floor (1 is the machine's limit)", fontsize=8)
