"""The ancestor: Fukushima's neocognitron of 1980 teaches itself what digits look like.

No label and no gradient trains it.  Whichever cell responds best to what it sees learns to respond
to it even better, and where none responds, one that has learned nothing yet takes its chance.  Only
afterwards do labels say which digit each cell at the top has come to stand for.

Needs the environment variable ENGINE_DATA: the folder that holds mnist.
"""

import sys

from engine import datasets, nn


def main(count=12_000, tests=10_000, path="neocognitron.png"):
    digits = datasets.load("mnist")
    x, y = digits.x_train[:count], digits.y_train[:count]
    model = nn.models.neocognitron(cells=1000)
    model.summary()

    nn.models.self_organize(model, x)
    for name in "S1", "S2", "S3":
        layer = next(layer for layer in model.layers if layer.name == name)
        print(f"{name}: {layer.used} of {layer.planes} planes have learned something")

    names = nn.models.name_cells(model, x, y)
    said = names[model.predict(digits.x_test[:tests]).argmax(axis=1)]
    right = (said == digits.y_test[:tests]).mean()
    print(f"{right:.2%} of {len(said):,} test digits are right: the digit that the cell which "
          f"responds most stands for")
    nn.plots.filters(model.layers[0], path)
    print(f"what the cells of S1 look for is in {path}")
    return right


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
