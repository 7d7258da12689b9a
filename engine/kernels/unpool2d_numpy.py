"""Max-unpooling in NumPy, on any spatial axes: values go back to where max-pooling took them from.
"""

from __future__ import annotations

from math import prod

import numpy as np


def refusal(problem, direction):
    return None


def forward(problem, x, indices, y):
    _, c, *size = problem.x_shape  # of the pooling: x has its y_shape, y its x_shape
    for image, places, out in zip(x, indices, y, strict=True):
        planes = np.zeros((c, prod(size)), problem.dtype)
        np.put_along_axis(planes, places.reshape(c, -1), image.reshape(c, -1), axis=1)
        out[...] = planes.reshape(out.shape)


def backward(problem, dy, indices, dx):
    c = problem.x_shape[1]
    for dout, places, dimage in zip(dy, indices, dx, strict=True):
        taken = np.take_along_axis(dout.reshape(c, -1), places.reshape(c, -1), axis=1)
        dimage[...] = taken.reshape(dimage.shape)
