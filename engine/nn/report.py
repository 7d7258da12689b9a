"""What a training leaves to look at: the confusion matrix."""

from __future__ import annotations

import numpy as np

from engine._typing import Array, ArrayLike


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> Array:
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
