"""Image files as inputs of a model trained on 28x28 grey pictures: light figures on dark."""

from __future__ import annotations

import numpy as np

from engine.nn._extras import need

INK = 0.2  # brighter than this counts as part of the figure


def read_image(path, shape: tuple[int, int], box: int | None) -> np.ndarray:
    """The picture in a file as float32 (H, W) from 0 to 1, prepared like the training data.

    A picture on light ground is inverted.  One that has exactly the model's size is otherwise
    taken as it is.  In any other, the figure is cut out, scaled into `box` x `box` and placed with
    its centre of mass in the middle, as was done for MNIST; without `box`, the picture as a whole
    is scaled.
    """
    image = need("PIL.Image", "reading images")
    with image.open(path) as file:
        pixels = np.asarray(file.convert("RGBA").convert("LA"), np.float32) / 255
    grey = pixels[..., 0] * pixels[..., 1] + (1 - pixels[..., 1])  # transparent is white
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(border) > 0.5:
        grey = 1 - grey
    if grey.shape == shape:
        return grey
    if box is not None:
        return _centred(_scaled(_cut_out(grey), box), shape)
    return _centred(_scaled(grey, min(shape)), shape, by_mass=False)


def _cut_out(grey: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(grey > INK)
    if rows.size == 0:
        return grey
    return grey[rows.min():rows.max() + 1, columns.min():columns.max() + 1]


def _scaled(grey: np.ndarray, size: int) -> np.ndarray:
    """Resized so that the longer side is `size`."""
    image = need("PIL.Image", "reading images")
    height, width = (max(1, round(n * size / max(grey.shape))) for n in grey.shape)
    picture = image.fromarray(grey).resize((width, height), image.Resampling.BOX
                                           if max(grey.shape) > size else
                                           image.Resampling.BILINEAR)
    return np.asarray(picture, np.float32)


def _centred(grey: np.ndarray, shape: tuple[int, int], by_mass: bool = True) -> np.ndarray:
    """On a black ground of `shape`, the centre of mass (or of the picture) in the middle."""
    out = np.zeros(shape, np.float32)
    corner = []
    for axis, (size, space) in enumerate(zip(grey.shape, shape, strict=True)):
        mass = grey.sum(axis=1 - axis)
        centre = (size - 1) / 2
        if by_mass and mass.sum() > 0:
            centre = float((mass * np.arange(size)).sum() / mass.sum())
        corner.append(min(max(round((space - 1) / 2 - centre), 0), space - size))
    top, left = corner
    out[top:top + grey.shape[0], left:left + grey.shape[1]] = grey
    return out
