"""Dask: convolution and pooling of chunked arrays that need not fit into memory.

>>> import dask.array as da, numpy as np, engine
>>> from engine.interop.dask import conv2d
>>> x = da.random.default_rng(0).random((1, 3, 200, 300), chunks=(1, 3, 64, 64))
>>> y = conv2d(x, np.ones((8, 3, 5, 5)), stride=2, padding="same")
>>> y.shape
(1, 8, 100, 150)
>>> bool((y.compute() == engine.conv2d(x.compute(), np.ones((8, 3, 5, 5)), stride=2,
...                                    padding="same")).all())
True

The functions have the names and arguments of `engine`'s.  The result is cut where x is: every
chunk of it is computed by itself, from the chunk of x with as much of the neighbours as its windows
reach into, and is what engine would compute from the whole array, up to the
order of sums.
"""

from __future__ import annotations

import inspect
from functools import partial
from itertools import pairwise

import numpy as np

import engine
from engine import _check_conv, _check_pool, _plan
from engine._axes import rank_of
from engine._check_conv import Options
from engine._problem import Axis
from engine._windows import Sliding
from engine.interop._operations import family
from engine.nn._extras import need

da = need("dask.array", "engine.interop.dask", "dask")

TILE = 4  # Winograd computes 4 x 4 results together: such tiles stay whole


def _convolve(op, x, weight, bias=None, **options):
    x, weight = _array(op, x), np.asarray(weight)
    bias = None if bias is None else np.asarray(bias)
    given = _defaults(op) | options
    call, *_ = _check_conv.forward(op, _stand_in(x), weight, bias, None, Options(
        **{name: given[name] for name in Options._fields if name in given}))
    plan = _plan.of(call, "forward")  # the algorithm for the whole array is that for its parts
    options |= {"padding_mode": "constant", "backend": plan.backend, "algorithm": plan.algorithm}
    for place, ends in enumerate(call.pads or (), x.ndim - rank_of(op)):
        x = _pad(x, place, ends, call.padding_mode)
    function = partial(_run, op, weight=weight, bias=bias, options=options)
    channels = () if x.ndim == rank_of(op) else ((weight.shape[0],),)
    return _by_cells(function, x, _axes(call.problem, op), call.problem.dtype, channels,
                     TILE if plan.algorithm == "winograd" else 1)


def _pool(op, x, return_indices=False, **options):
    if return_indices:
        raise ValueError(f"{op}: `return_indices` is True, expected False (of dask arrays)")
    x, given = _array(op, x), _defaults(op) | options
    call, _ = _check_pool.forward(op, op.partition("_")[0], _stand_in(x), given["layout"],
                                  given["backend"], Sliding(**{
                                      name: given[name] for name in Sliding._fields
                                      if name in given}))
    options |= {"backend": _plan.of(call, "forward").backend, "ceil_mode": True}  # see _needed
    return _by_cells(partial(_run, op, options=options), x, _axes(call.problem, op),
                     call.problem.dtype)


def _pad(x, place, ends, mode):
    """As numpy.pad along one axis; what is added belongs to the first and the last chunk."""
    source = np.pad(np.arange(x.shape[place]), ends, mode)
    before, _, after = np.split(source, [ends[0], len(source) - ends[1]])
    chunks = list(x.chunks[place])
    chunks[0] += ends[0]
    chunks[-1] += ends[1]
    wide = da.concatenate([da.take(x, before, place), x, da.take(x, after, place)], place)
    return wide.rechunk({place: tuple(chunks)})


def _run(op, x, padding, *, options, **arrays):
    return getattr(engine, op)(x, **arrays, **options | {"padding": padding})


def _by_cells(function, x, axes, dtype, channels=None, unit=1):
    """y, each cell of which is ``function(part of x, padding=...)``."""
    rank = len(axes)
    whole = range(x.ndim - rank - len(channels or ()), x.ndim)  # axes that a cell needs entire

    def cell(ranges):
        places, pads = zip(*map(_needed, axes, ranges), strict=True)
        part = x[(..., *places)].rechunk(dict.fromkeys(whole, -1))
        lead = part.chunks[:-rank] if channels is None else part.chunks[:whole[0]] + channels
        sizes = tuple((end - begin,) for begin, end in ranges)
        return part.map_blocks(partial(function, padding=pads), chunks=lead + sizes, dtype=dtype,
                               meta=np.empty((0,) * x.ndim, dtype))

    def block(ranges, rest):
        if not rest:
            return cell(ranges)
        return [block([*ranges, each], rest[1:]) for each in rest[0]]

    return da.block(block([], [_cut(chunks, axis, unit) for chunks, axis
                               in zip(x.chunks[-rank:], axes, strict=True)]))


def _cut(chunks, axis, unit) -> list[tuple[int, int]]:
    """Where results begin and end along an axis, so that windows begin in one chunk of x each."""
    cuts = [0]
    for edge in np.cumsum(chunks)[:-1].tolist():
        cut = -(-(edge + axis.before) // axis.stride)
        cut = -(-cut // unit) * unit
        first, end = _reach(axis, cut, cut + 1)
        if (cuts[-1] < cut < axis.out and first < axis.size  # there is some of x on either side,
                and _reach(axis, cut - 1, cut)[1] > 0 and end <= axis.size + axis.after):
            cuts.append(cut)  # and on the right a window that does not hang over the padding
    return list(pairwise([*cuts, axis.out]))


def _needed(axis, results):
    """The part of x that these results are made of, and the padding around it.

    The last window of a pooling may hang over the padding; with `ceil_mode` it does so here too.
    """
    first, end = _reach(axis, *results)
    return (slice(max(first, 0), min(end, axis.size)),
            (max(-first, 0), min(max(end - axis.size, 0), axis.after)))


def _reach(axis, begin, end):
    """Where the first of these windows begins and the last one ends."""
    first, last = (window * axis.stride - axis.before for window in (begin, end - 1))
    return first, last + axis.dilation * (axis.kernel - 1) + 1


# ---- parts -------------------------------------------------------------------------------------

def _array(op, x):
    x = da.asarray(x)
    if np.isnan(x.shape).any():
        raise ValueError(f"{op}: `x` has chunks of unknown size, expected known ones "
                         "(x.compute_chunk_sizes())")
    return x


def _stand_in(x) -> np.ndarray:
    """What looks like x in C order and holds nothing, for checks that read no numbers."""
    strides = np.cumprod([x.dtype.itemsize, *x.shape[:0:-1]])[::-1]
    return np.lib.stride_tricks.as_strided(np.zeros(1, x.dtype), x.shape, strides)


def _defaults(op) -> dict:
    return {name: each.default for name, each in
            inspect.signature(getattr(engine, op)).parameters.items()}


def _axes(problem, op) -> list[Axis]:
    """What happens along every spatial axis."""
    p = getattr(problem, "plane", problem)  # a volume is planes one behind the other
    plane = [Axis(p.ih, p.oh, p.kh, p.stride_h, p.pad_t, p.pad_b, p.dil_h),
             Axis(p.iw, p.ow, p.kw, p.stride_w, p.pad_l, p.pad_r, p.dil_w)]
    return ([problem.depth] if p is not problem else []) + plane[-rank_of(op):]


conv1d, conv2d, conv3d = family("conv{}d", _convolve, __name__)
max_pool1d, max_pool2d, max_pool3d = family("max_pool{}d", _pool, __name__)
min_pool1d, min_pool2d, min_pool3d = family("min_pool{}d", _pool, __name__)
avg_pool1d, avg_pool2d, avg_pool3d = family("avg_pool{}d", _pool, __name__)
lp_pool1d, lp_pool2d, lp_pool3d = family("lp_pool{}d", _pool, __name__)
