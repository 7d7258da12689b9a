"""Pictures of a network and its training, each a PNG file.

They need ``pip install "convengine[app]"``.  A file is replaced only by a whole new one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np

from engine._typing import ArrayLike
from engine.nn import inspection
from engine.nn._extras import need
from engine.nn._typing import Path
from engine.nn.layer import Layer
from engine.nn.model import Model
from engine.nn.saving import write_whole

ENLARGED = 512  # mosaics of small tiles are enlarged to about so many pixels


def history(values: Mapping[str, Sequence[float]], path: Path, title: str = "") -> None:
    """Loss and accuracy by epoch, for the training and the validation data: what `fit` returns."""
    figure = _figure(9, 3.6)
    figure.suptitle(title)
    for place, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place, xlabel="epoch", ylabel=name)
        for key, label in (name, "training"), ("val_" + name, "held out"):
            numbers = values.get(key, [])
            axes.plot(range(1, len(numbers) + 1), numbers, marker=".", label=label)
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def confusion_matrix(matrix: ArrayLike, names: Sequence[str], path: Path,
                     title: str = "") -> None:
    """The counts of `engine.nn.confusion_matrix`; a field is as dark as its share of the row."""
    matrix, names = np.asarray(matrix), [str(name) for name in names]
    if matrix.shape != (len(names),) * 2:
        raise ValueError(f"confusion_matrix: `matrix` has shape {matrix.shape}, expected "
                         f"{(len(names),) * 2} (as many as names)")
    side = 2.5 + 0.5 * len(names)
    figure = _figure(side, side)
    axes = figure.add_subplot(1, 1, 1, xlabel="said", ylabel="true", title=title)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), count in np.ndenumerate(matrix):
        axes.text(column, row, str(count), ha="center", va="center",
                  color="white" if share[row, column] > 0.5 else "black")
    _save(figure, path)


def filters(layer: Layer, path: Path, *, limit: int = 64) -> None:
    """The filters of a convolution, side by side: of three input channels in colour.

    Of other convolutions, the planes of the filters one by one; grey is 0, white the largest.
    """
    weight = layer.params.get("weight")
    if weight is None or weight.ndim != 4:
        raise ValueError(f"filters: `layer` is {layer.title}, expected a 2-D convolution")
    weight = weight / max(float(np.abs(weight).max()), np.finfo(weight.dtype).tiny)
    colour = weight.shape[1] == 3
    tiles = weight.transpose(0, 2, 3, 1) if colour else weight.reshape(-1, *weight.shape[2:])
    _save_mosaic(tiles[:limit] / 2 + 0.5, path)


def feature_maps(model: Model, image: ArrayLike, layer: str, path: Path, *,
                 limit: int = 64) -> None:
    """What a layer makes of one image: its first maps, each from black to white."""
    maps = inspection.feature_maps(model, np.asarray(image)[None], layer)[0]
    if maps.ndim != 3:
        raise ValueError(f"feature_maps: `layer` is {layer!r} with outputs of shape {maps.shape}, "
                         "expected images with channels")
    maps = maps if model.layout == "NCHW" else maps.transpose(2, 0, 1)
    low, high = (bound(maps[:limit], axis=(1, 2), keepdims=True) for bound in (np.min, np.max))
    _save_mosaic((maps[:limit] - low) / np.maximum(high - low, np.finfo(maps.dtype).tiny), path)


def grad_cam(model: Model, image: ArrayLike, path: Path, *, target: int | None = None,
             layer: str | None = None,
             picture=None) -> None:
    """Where a network saw a class: the map of `inspection.grad_cam` over the image.

    `picture`, uint8 (H, W, 3), is shown instead of the network's input where that is not made to
    be looked at.
    """
    heat = inspection.grad_cam(model, image, target=target, layer=layer)
    if picture is None:
        picture = np.asarray(image, np.float64)
        picture = picture.transpose(1, 2, 0) if model.layout == "NCHW" else picture
        picture = (picture - picture.min()) / max(np.ptp(picture), 1e-12)
    figure = _figure(8, 4)
    for place in 1, 2:
        axes = figure.add_subplot(1, 2, place)
        axes.set_axis_off()
        axes.imshow(picture, cmap="gray", extent=(0, 1, 0, 1))
    axes.imshow(heat, cmap="jet", alpha=0.45, vmin=0, vmax=1, interpolation="bilinear",
                extent=(0, 1, 0, 1))
    _save(figure, path)


def _figure(width: float, height: float):
    return need("matplotlib.figure", "drawing").Figure(figsize=(width, height), dpi=110,
                                                       layout="constrained")


def _save(figure, path) -> None:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    write_whole(path, file.getvalue())


def _save_mosaic(tiles: np.ndarray, path) -> None:
    """Tiles (N, H, W) or (N, H, W, 3) from 0 to 1 in rows, with a pixel between them."""
    image = need("PIL.Image", "writing pictures")
    count, height, width = tiles.shape[:3]
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, *tiles.shape[3:]))
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        canvas[top:top + height, left:left + width] = tile
    factor = max(1, ENLARGED // max(canvas.shape[:2]))
    canvas = canvas.repeat(factor, axis=0).repeat(factor, axis=1)
    file = io.BytesIO()
    image.fromarray((canvas * 255).round().astype(np.uint8)).save(file, format="png")
    write_whole(path, file.getvalue())
