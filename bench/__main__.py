"""``python -m bench COMMAND``; each command lives in the file of its name."""

import click

from bench.calls import calls
from bench.cold import cold
from bench.compare import compare
from bench.gpu import gpu
from bench.models import models
from bench.peaks import peaks
from bench.report import table
from bench.roofline import roofline
from bench.scaling import scaling


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure engine: floors, peers, call overhead and scaling."""


for command in (peaks, compare, table, roofline, calls, cold, scaling, models, gpu):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m bench")
