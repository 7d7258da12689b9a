"""3-D pooling by 2-D kernels: every plane is pooled, then what came out along the depth.

    max, min   of the planes' extremes the first in depth is the first of the window
    avg        the mean of means: each plane of a window has as many elements that count
    lp         the norm of norms

The second pooling is that of a plane (depth, height * width) with windows one column wide.  A few
megabytes of images or channels are done at a time.  16-bit floats are computed in float32, so that
nothing is rounded between the two.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from engine import _memory
from engine._problem import Axis, empty, pool_problem, widened

BLOCK_BYTES = 8 << 20
FEW = 16  # channels, fewer of which are not worth a block of their own
INDEX = np.dtype(np.int64)


class Separable:
    """The directions of 3-D pooling on the module of a backend's 2-D kernels."""

    def __init__(self, planar):
        self.planar = planar

    def refusal(self, problem, direction):
        across, along = _two_poolings(problem, problem.n, problem.plane.c)
        return self.planar.refusal(across, direction) or self.planar.refusal(along, direction)

    def forward(self, problem, x, y, indices):
        for here in blocks(problem):
            places = None if indices is None else indices[here]
            self._forward(problem, x[here], y[here], places)

    def _forward(self, problem, x, y, indices):
        """A block of images and channels."""
        across, along = _two_poolings(problem, *x.shape[:2])
        middle = _middle(problem, x, across.dtype)
        places = None if indices is None else empty(middle.shape, INDEX, problem.order)
        self.planar.forward(across, _as(_planes(x, problem), across.dtype),
                            _planes(middle, problem), places if places is None else
                            _planes(places, problem))
        result = _written(_columns(y), y, along)
        winners = None if indices is None else empty(along.y_shape, INDEX, problem.order)
        self.planar.forward(along, _columns(middle), result, winners)
        if not np.may_share_memory(result, y):
            y[...] = result.reshape(y.shape).astype(y.dtype)
        if indices is not None:
            indices[...] = _positions(problem, places, winners).reshape(indices.shape)

    def backward(self, problem, dy, x, indices, dx):
        is_extreme = problem.plane.kind in ("max", "min")
        if is_extreme and indices is None:
            indices = empty(problem.y_shape, INDEX, problem.order)
            self.forward(problem, x, empty(problem.y_shape, x.dtype, problem.order), indices)
        if is_extreme:
            for image in range(problem.n):
                one = slice(image, image + 1)
                _scatter(problem, dy[one], indices[one], dx[one])
            return
        for here in blocks(problem):
            self.backward_of_block(problem, dy[here], None if x is None else x[here], dx[here])

    def backward_of_block(self, problem, dy, x, dx):
        """A block: back along the depth, then in every plane."""
        across, along = _two_poolings(problem, *dx.shape[:2])
        work, source, middle = across.dtype, None, None
        if problem.plane.kind != "avg":
            source, middle = _as(_planes(x, problem), work), _middle(problem, x, work)
            self.planar.forward(across, source, _planes(middle, problem), None)
        gradient = _middle(problem, dx, work)
        self.planar.backward(along, _as(_columns(dy), work),
                             None if middle is None else _columns(middle), None,
                             _columns(gradient))
        result = _written(_planes(dx, problem), dx, across, of="x")
        self.planar.backward(across, _planes(gradient, problem), source, None, result)
        if not np.may_share_memory(result, dx):
            _planes_back(result, dx, problem)


@lru_cache(maxsize=512)
def _two_poolings(problem, n, c):
    """That of every plane of n images with c channels, and that along their depth."""
    p, depth = problem.plane, problem.depth
    work = widened(p.dtype)
    images, channels = (n * depth.size, c) if p.order == "nhwc" else (n, c * depth.size)
    columns = p.oh * p.ow
    along = pool_problem(p.kind, n, c, [depth, Axis(columns, columns)], p=p.p, dtype=work,
                         order=p.order, adaptive=p.adaptive, count_include_pad=p.count_include_pad)
    return replace(p, n=images, c=channels, dtype=work), along


def blocks(problem):
    """(images, channels) of BLOCK_BYTES of x, or a little more where that would be too thin."""
    n, c, *size = problem.x_shape
    channel = int(np.prod(size)) * problem.acc_dtype.itemsize
    some = min(c, max(FEW, BLOCK_BYTES // channel))
    images = max(1, BLOCK_BYTES // (channel * c)) if some == c else 1
    for image in range(0, n, images):
        for first in range(0, c, some):
            yield slice(image, min(image + images, n)), slice(first, min(first + some, c))


# ---- a block (n, c, d, h, w) as kernels of planes take it ----------------------------------------

def _planes(block, problem):
    """Every plane by itself: depths are channels, or where those come last, images."""
    n, c, d, h, w = block.shape
    if problem.order == "nhwc":
        return block.transpose(0, 2, 1, 3, 4).reshape(n * d, c, h, w)
    return block.reshape(n, c * d, h, w)


def _planes_back(planes, block, problem):
    """Write what `_planes` could not view."""
    n, c, d, h, w = block.shape
    if problem.order == "nhwc":
        planes = planes.reshape(n, d, c, h, w).transpose(0, 2, 1, 3, 4)
    block[...] = planes.reshape(n, c, d, h, w).astype(block.dtype)


def _columns(block):
    """(n, c, d, h * w)."""
    return block.reshape(*block.shape[:3], -1)


def _written(view, block, problem, of="y"):
    """`view` if it is one of the block, of the dtype of that problem, else scratch like it."""
    if view.dtype == problem.dtype and np.may_share_memory(view, block):
        return view
    shape = problem.y_shape if of == "y" else problem.x_shape
    return _memory.scratch_like(block, shape, problem.dtype, problem.order)


def _middle(problem, x, dtype):
    """Room for what the planes of a block give."""
    p = problem.plane
    return _memory.scratch_like(x, (*x.shape[:3], p.oh, p.ow), dtype, p.order)


def _as(array, dtype):
    return array.astype(dtype, copy=False)


# ---- positions d * H * W + h * W + w -----------------------------------------------------------

def _positions(problem, places, winners):
    """From the place of every plane's extreme in it and the winner of every column."""
    rows = winners.shape[3]
    memory, first, step = _in_memory(winners.shape, problem.depth.size * rows, problem.order)
    in_plane = memory(places).reshape(-1).take(memory(winners) * step + first)
    found = memory(winners) // rows
    found *= problem.plane.ih * problem.plane.iw
    found += in_plane
    return np.moveaxis(found, -1, 1) if problem.order == "nhwc" else found


def _scatter(problem, dy, places, dx):
    """Every element of dy goes to its place, in the order of dy; those at one place are added."""
    memory, first, step = _in_memory(dx.shape, int(np.prod(dx.shape[2:])), problem.order)
    dy, places, dx = memory(dy), memory(places), memory(dx)
    work = widened(problem.dtype)
    direct = dx.flags.c_contiguous and dx.dtype == work
    total = dx.reshape(-1) if direct else np.empty(dx.size, work)
    total[:] = 0
    np.add.at(total, (places * step + first).reshape(-1), dy.reshape(-1).astype(work, copy=False))
    if not direct:
        dx[...] = total.reshape(dx.shape).astype(dx.dtype)


def _in_memory(shape, size, order):
    """For arrays (n, c, ...) in that order with `size` elements for each channel: what views them
    with the axes of their memory, and the numbers (first, step) with which element i of a channel
    is number first + i * step."""
    n, c, *others = shape
    if order == "nhwc":
        first = np.arange(n).reshape(n, *(1,) * len(others), 1) * (size * c) + np.arange(c)
        return (lambda array: np.moveaxis(array, 1, -1)), first, c
    first = np.arange(n * c).reshape(n, c, *(1,) * len(others)) * size
    return (lambda array: array), first, 1
