"""What a training leaves to look at: the confusion matrix and the curves."""

from __future__ import annotations

import io

import numpy as np

from engine.nn._extras import need
from engine.nn.saving import write_whole


def confusion_matrix(y_true, y_pred, classes: int) -> np.ndarray:
    """Counts (classes, classes): row i, column j is how often class i was taken for j."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (np.asarray(y_true), np.asarray(y_pred)), 1)
    return matrix


def confusion_table(matrix: np.ndarray, names) -> str:
    """The confusion matrix as text, with the share of each class that was recognised."""
    names = [str(name) for name in names]
    corner = "true \\ said"
    side = max(len(corner), *(len(name) for name in names))
    wide = max(len(str(matrix.max())), *(len(name) for name in names)) + 1
    head = f"{corner:>{side}} " + "".join(f"{name:>{wide}}" for name in names) + "  right"
    rows = [f"{name:>{side}} " + "".join(f"{count or '.':>{wide}}" for count in row)
            + f"  {row[i] / max(row.sum(), 1):6.1%}"
            for i, (name, row) in enumerate(zip(names, matrix, strict=True))]
    return "\n".join([head, *rows])


def save_curves(history, path, title: str) -> None:
    """Loss and accuracy by epoch, for the training and the validation data, as a PNG."""
    figure = need("matplotlib.figure", "drawing curves").Figure(figsize=(9, 3.6), dpi=110,
                                                                layout="constrained")
    figure.suptitle(title)
    for place, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place, xlabel="epoch", ylabel=name)
        for key, label in (name, "training"), ("val_" + name, "held out"):
            values = history.get(key, [])
            axes.plot(range(1, len(values) + 1), values, marker=".", label=label)
        axes.grid(alpha=0.3)
        axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png")
    write_whole(path, data.getvalue())
