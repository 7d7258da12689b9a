"""Named layers: reads bench/shapes/*.txt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

SHAPES = Path(__file__).with_name("shapes")
NETWORKS = ("lenet5", "alexnet", "vgg16", "googlenet", "resnet50", "mobilenet", "pools")


@dataclass(frozen=True)
class Layer:
    """A line of a shapes file; ``text`` is what Conv2dProblem or Pool2dProblem parses."""

    name: str
    text: str

    @property
    def is_pool(self) -> bool:
        return not re.search(r"oc\d", self.text)


def load(*files: str, only: str = "") -> list[Layer]:
    """The layers of those files (``panel`` reads shapes/panel.txt) whose name matches ``only``."""
    found: dict[str, Layer] = {}
    for file in files:
        path = SHAPES / f"{file}.txt"
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in SHAPES.glob("*.txt")))
            raise ValueError(f"shapes: there is no {path.name}, expected one of {known}")
        for line in path.read_text().splitlines():
            words = line.split("#")[0].split()
            if words and re.search(only, words[0]):
                found[words[0]] = Layer(*words)
    return list(found.values())
