"""NonMaxSuppression: of boxes that overlap much, the best."""

from __future__ import annotations

import numpy as np

from engine.interop.onnx.table import operator


@operator("NonMaxSuppression")
def non_max_suppression(call, boxes, scores, most=None, overlap=None, least=None):
    """For every image and class the indices of boxes, from the best score down, each of which
    shares no more than `overlap` (intersection over union) with those before it.
    """
    most = 0 if most is None else int(most.item())
    overlap = 0.0 if overlap is None else overlap.item()
    corners = _corners(boxes, call.get("center_point_box", 0))
    found = [(image, kind, box) for image, kind in np.ndindex(scores.shape[:2])
             for box in _best(corners[image], scores[image, kind], most, overlap, least)]
    return np.array(found, np.int64).reshape(-1, 3), None


def _corners(boxes: np.ndarray, from_center) -> np.ndarray:
    """(..., 4) as lowest and highest of both axes."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if from_center:
        first, second = first - second / 2, first + second / 2
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=-1)


def _best(boxes, scores, most: int, overlap: float, least) -> list[int]:
    order = np.argsort(-scores, kind="stable")
    if least is not None:
        order = order[scores[order] > least]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.maximum(high - low, 0).prod(axis=1)
        order = order[shared <= overlap * (area[best] + area[order] - shared)]
    return kept
