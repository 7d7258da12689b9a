"""3-D convolution by 2-D kernels: the planes that meet in one plane of the result are channels.

A plane of the result at one depth is the sum of the 2-D convolutions of those planes of the source
which the kernel's taps in depth meet there.  Laid side by side, a *slab*, they are one image with
more channels, and the sum is part of a single 2-D convolution.  Neighbouring planes of the result
that the same taps meet are its batch.

    forward          y plane o   meets x plane  o * stride - pad + tap * dilation
    backward data    dx plane d  meets dy plane (d + pad - tap * dilation) / stride, if it is whole
    backward weight  sums over the y planes what forward multiplies

Slabs are copied a few megabytes at a time; where only one tap meets, x itself serves.  16-bit
floats are computed in float32, so that no sum is rounded halfway.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from engine import _activation, _memory
from engine._problem import widened

SLAB_BYTES = 4 << 20


class Run(NamedTuple):
    """Planes of the result that the same taps meet, and the planes of the source they meet."""

    result: slice
    count: int
    taps: tuple[int, ...]
    source: tuple[slice, ...]  # for each tap: one plane for each plane of the result


class Slabs:
    """The directions of 3-D convolution on the module of a backend's 2-D kernels."""

    def __init__(self, planar):
        self.planar = planar

    def refusal(self, problem, direction, algorithm):
        return self.planar.refusal(_slab_problem(problem, direction), direction, algorithm)

    def order(self, problem, direction):
        if hasattr(self.planar, "order"):
            return self.planar.order(_slab_problem(problem, direction), direction)
        return self.planar.ALGORITHMS

    def forward(self, problem, algorithm, x, weight, bias, y):
        p, work = problem.plane, widened(problem.dtype)
        weight, bias = _as(weight, work), None if bias is None else _as(bias, work)
        for run in _runs(problem.depth, "forward"):
            if not run.taps:
                y[:, :, run.result] = _nothing(problem, bias)
                continue
            filters = _forward_filters(problem, weight, run.taps)
            for images, planes in _blocks(problem.n, run, p.ic * p.ih * p.iw * work.itemsize):
                slab = _slab(x, images, run, planes, p.g, p.order, work)
                part = replace(p, n=len(slab), ic=slab.shape[1], dtype=work)
                with _Result(y, images, run, planes, part.y_shape, p.order, work) as result:
                    self.planar.forward(part, algorithm, slab, filters, bias, result)

    def backward_data(self, problem, algorithm, dy, weight, dx):
        p, work = problem.plane, widened(problem.dtype)
        weight = _as(weight, work)
        for run in _runs(problem.depth, "backward_data"):
            if not run.taps:
                dx[:, :, run.result] = 0
                continue
            filters = _backward_filters(problem, weight, run.taps)
            for images, planes in _blocks(problem.n, run, p.oc * p.oh * p.ow * work.itemsize):
                slab = _slab(dy, images, run, planes, p.g, p.order, work)
                part = replace(p, n=len(slab), oc=slab.shape[1], dtype=work)
                with _Result(dx, images, run, planes, part.x_shape, p.order, work) as result:
                    self.planar.backward_data(part, algorithm, slab, filters, result)

    def backward_weight(self, problem, algorithm, dy, x, dweight):
        p, work = problem.plane, widened(problem.dtype)
        total = dweight if dweight.dtype == work else (
            np.empty(problem.weight_shape, work, like=dweight))
        total[...] = 0
        for run in _runs(problem.depth, "forward"):
            if not run.taps:
                continue
            alone = run._replace(taps=(0,), source=(run.result,))  # dy plane by plane
            sums = _forward_view(problem, total, run.taps)
            for images, planes in _blocks(problem.n, run, p.ic * p.ih * p.iw * work.itemsize,
                                          several=True):
                slab = _slab(x, images, run, planes, p.g, p.order, work)
                gradient = _slab(dy, images, alone, planes, p.g, p.order, work)
                part = replace(p, n=len(slab), ic=slab.shape[1], dtype=work)
                product = np.empty(part.weight_shape, work, like=dweight)
                self.planar.backward_weight(part, algorithm, gradient, slab, product)
                sums += product.reshape(sums.shape)
        if total is not dweight:
            dweight[...] = total.astype(problem.dtype)

    def backward_bias(self, problem, dy, dbias):
        dbias[...] = dy.sum(axis=(0, 2, 3, 4), dtype=problem.acc_dtype).astype(problem.dtype)


# ---- which planes meet -------------------------------------------------------------------------

@lru_cache(maxsize=256)
def _runs(depth, direction):
    """All planes of the result, in runs that the same taps meet, in a fixed order."""
    return list(_find_runs(depth, direction))


def _find_runs(depth, direction):
    size, out, kernel, stride, before, _, dilation = depth
    if direction == "forward":
        planes, step, others = out, 1, size

        def met(plane, tap):
            return plane * stride - before + tap * dilation
    else:
        planes, step, others = size, stride, out

        def met(plane, tap):
            place, rest = divmod(plane + before - tap * dilation, stride)
            return -1 if rest else place

    def meeting(plane):
        return tuple(tap for tap in range(kernel) if 0 <= met(plane, tap) < others)

    stride_met = stride if direction == "forward" else 1
    for start in range(min(step, planes)):
        for taps, run in groupby(range(start, planes, step), meeting):
            first, *rest = run
            count = 1 + len(rest)
            yield Run(_progression(first, step, count), count, taps,
                      tuple(_progression(met(first, tap), stride_met, count) for tap in taps))


def _progression(start, step, count):
    return slice(start, start + (count - 1) * step + 1, step)


def _part(whole, planes):
    """Some planes, counted from the first of a run, of the slice for all of them."""
    start = whole.start + planes.start * whole.step
    return _progression(start, whole.step, planes.stop - planes.start)


def _blocks(images, run, plane_bytes, several=False):
    """(images, planes of the run) whose slab has SLAB_BYTES, or is a single one.

    Several images with several planes each cannot be one batch without a copy of the result.
    """
    most = max(1, SLAB_BYTES // (plane_bytes * max(1, len(run.taps))))
    if several and run.count <= most:
        step, chunk = max(1, most // run.count), run.count
    elif run.count >= images:
        step, chunk = 1, most
    else:
        step, chunk = most, 1
    for image in range(0, images, step):
        for plane in range(0, run.count, chunk):
            yield (slice(image, min(image + step, images)),
                   slice(plane, min(plane + chunk, run.count)))


# ---- arrays ------------------------------------------------------------------------------------

def _slab(array, images, run, planes, groups, order, dtype):
    """(image and plane, group and channel and tap, h, w): where that is no view, a copy."""
    array = array[images]
    n, c, _, h, w = array.shape
    parts = [array[:, :, _part(source, planes)].transpose(0, 2, 1, 3, 4) for source in run.source]
    count, taps = parts[0].shape[1], len(parts)
    if taps == 1 and 1 in (n, count):
        return _as(parts[0].reshape(n * count, c, h, w), dtype)
    slab = _memory.scratch_like(array, (n * count, c * taps, h, w), dtype, order)
    for tap, part in enumerate(parts):
        part = part.reshape(n, count, groups, c // groups, h, w)
        if order == "nhwc":  # channels stay neighbours
            last = slab.transpose(0, 2, 3, 1).reshape(n, count, h, w, groups, taps, c // groups)
            last[..., tap, :] = part.transpose(0, 1, 4, 5, 2, 3)
        else:
            slab.reshape(n, count, groups, c // groups, taps, h, w)[:, :, :, :, tap] = part
    return slab


def _forward_view(problem, weight, taps):
    """Those taps of (out, in/groups, kd, kh, kw), the axes in the order that a slab has them."""
    weight = weight[:, :, taps[0] : taps[-1] + 1]
    return weight.transpose(0, 2, 1, 3, 4) if problem.order == "nhwc" else weight


def _forward_filters(problem, weight, taps):
    weight = _forward_view(problem, weight, taps)
    return weight.reshape(len(weight), -1, *weight.shape[3:])


def _backward_filters(problem, weight, taps):
    """(out and tap, in/groups, kh, kw)."""
    oc, ic, _, kh, kw = weight.shape
    groups = problem.plane.g
    if len(taps) < problem.depth.kernel:  # they are as far apart as stride and dilation want
        weight = weight[:, :, taps[0] : taps[-1] + 1 : taps[1] - taps[0] if taps[1:] else 1]
    weight = weight.reshape(groups, oc // groups, ic, len(taps), kh, kw)
    axes = (0, 3, 1, 2, 4, 5) if problem.order == "nhwc" else (0, 1, 3, 2, 4, 5)
    return weight.transpose(axes).reshape(-1, ic, kh, kw)


class _Result:
    """Planes of the result as a batch, (image and plane, channel, h, w), to be written."""

    def __init__(self, array, images, run, planes, shape, order, dtype):
        self.planes = array[images][:, :, _part(run.result, planes)].transpose(0, 2, 1, 3, 4)
        n, count = self.planes.shape[:2]  # one of them is 1
        self.batch = self.planes[0] if n == 1 else self.planes[:, 0]
        self.direct = array.dtype == dtype
        self.written = self.batch if self.direct else (
            _memory.scratch_like(array, shape, dtype, order))

    def __enter__(self):
        return self.written

    def __exit__(self, kind, *_):
        if kind is None and not self.direct:
            self.batch[...] = self.written.astype(self.batch.dtype)


def _nothing(problem, bias):
    """What a window that meets no plane gives."""
    if bias is None:
        return 0
    bias = bias.astype(problem.dtype)  # a copy
    _activation.apply(problem.plane.activation, bias[None])
    return bias[:, None, None, None]


def _as(array, dtype):
    return array.astype(dtype, copy=False)


def _slab_problem(problem, direction):
    """The 2-D problem of a slab that every tap meets."""
    p, taps = problem.plane, problem.depth.kernel
    wider = {"oc": p.oc * taps} if direction == "backward_data" else {"ic": p.ic * taps}
    return replace(p, dtype=widened(problem.dtype), **wider)
