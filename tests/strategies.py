"""Hypothesis draws problems: any geometry, dtype and memory, small but across every blocking edge.

A drawn case is one line of text, ``str(problem)`` and what the data is made from; the line is
what a failing test prints, and ``ConvCase.parse`` and ``PoolCase.parse`` replay it.
"""

from dataclasses import dataclass, replace

import numpy as np
from arrays import INPUT_VIEWS, OUTPUT_VIEWS, laid_out, numbers
from hypothesis import strategies as st

from engine._problem import (
    Axis,
    Conv2dProblem,
    Conv3dProblem,
    Pool2dProblem,
    Pool3dProblem,
    conv_problem,
    named_dtype,
    output_size,
    pool_problem,
)

CHANNELS = (1, 2, 3, 4, 6, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 130)
FEATURES = ((1, 1), (1, 40), (9, 1), (15, 17), (33, 10), (64, 49), (130, 97), (300, 33), (513, 50),
            (1030, 20), (1100, 7), (7, 1100), (40, 1040))  # of fully connected layers: in, out
WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 16, 17, 28, 31, 32, 33, 48, 64, 65)
FLOATS = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DTYPES = ("float32", "float32", "float64", "float64", *FLOATS, *INTEGERS)  # the fast ones oftener
MAX_MACS = 600_000  # of a drawn convolution, so that a loop nest in Python keeps up


class Case:
    """A problem, the seed of its numbers, and the memory of x, weight, y (or dy) and out=."""

    __slots__ = ()

    def __str__(self):
        return (f"{self.problem} seed={self.seed} views={','.join(self.views)} "
                f"{'exact' if self.exact else 'real'}")

    __repr__ = __str__

    def _repr_pretty_(self, printer, cycle):  # what hypothesis prints
        printer.text(f"{type(self).__name__}.parse({str(self)!r})")

    @classmethod
    def parse(cls, line):
        problem, seed, views, exact = line.split()
        return cls(cls.Problem.parse(problem), int(seed.partition("=")[2]),
                   tuple(views.partition("=")[2].split(",")), exact == "exact")

    @property
    def rng(self):
        return np.random.default_rng(self.seed)

    def array(self, role, shape, other=0):
        """Read-only numbers for the input of that name; `other` numbers in the same memory."""
        view = self.views[("x", "weight", "y").index(role)]
        values = numbers(np.random.default_rng([self.seed, other, *role.encode()]), shape,
                         self.problem.dtype, self.exact)
        return laid_out(values, view, np.random.default_rng([self.seed, *role.encode()]))

    def arrays(self, call, **shapes):
        """The inputs; on odd seeds after a call with others like them, which engine remembers."""
        if self.seed % 2:
            call(*(self.array(role, shape, other=1) for role, shape in shapes.items()))
        return [self.array(role, shape) for role, shape in shapes.items()]

    rank = 2

    @property
    def plane(self):
        """The problem itself; of a volume, that of its planes."""
        return getattr(self.problem, "plane", self.problem)

    @property
    def axes(self):
        """What happens along every spatial axis."""
        p = self.plane
        plane = [Axis(p.ih, p.oh, p.kh, p.stride_h, p.pad_t, p.pad_b, p.dil_h),
                 Axis(p.iw, p.ow, p.kw, p.stride_w, p.pad_l, p.pad_r, p.dil_w)]
        return [self.problem.depth, *plane] if self.rank == 3 else plane[-self.rank:]

    def shape(self, role):
        """The public shape of x, weight or y."""
        shape = getattr(self.problem, f"{role}_shape")
        return shape[:2] + shape[3:] if self.rank == 1 else shape

    @property
    def pads(self):
        return tuple((axis.before, axis.after) for axis in self.axes)

    @property
    def stride(self):
        return tuple(axis.stride for axis in self.axes)

    @property
    def dilation(self):
        return tuple(axis.dilation for axis in self.axes)

    @property
    def kernel(self):
        return tuple(axis.kernel for axis in self.axes)

    @property
    def size(self):
        return tuple(axis.size for axis in self.axes)

    @property
    def out(self):
        return tuple(axis.out for axis in self.axes)


@dataclass(frozen=True, repr=False)
class ConvCase(Case):
    problem: Conv2dProblem
    seed: int = 0
    views: tuple[str, ...] = ("nchw", "nchw", "nchw", "none")
    exact: bool = True

    Problem = Conv2dProblem
    family = "conv2d"  # the kernels that do it

    @property
    def name(self):
        return f"conv{self.rank}d"

    @property
    def geometry(self):
        """The keyword arguments of the public functions."""
        return {"stride": self.stride, "padding": self.pads, "dilation": self.dilation,
                "groups": self.plane.g}

    @property
    def naive(self):
        """The same for tests/naive.py."""
        return {"stride": self.stride, "pads": self.pads, "dilation": self.dilation,
                "groups": self.plane.g}

    @property
    def bias(self):
        p = self.plane
        return numbers(self.rng, p.oc, p.dtype, self.exact) if p.bias else None


class Conv1dCase(ConvCase):
    rank = 1


class Conv3dCase(ConvCase):
    rank, Problem, family = 3, Conv3dProblem, "conv3d"


@dataclass(frozen=True, repr=False)
class PoolCase(Case):
    problem: Pool2dProblem
    seed: int = 0
    views: tuple[str, ...] = ("nchw", "nchw", "nchw", "none")
    exact: bool = True

    Problem = Pool2dProblem
    family = "pool2d"

    @property
    def ceil_mode(self):
        """Whether the output is larger than the floor rule says."""
        return any(axis.out != output_size(axis.size, axis.before, axis.after, axis.kernel,
                                           axis.stride, axis.dilation) for axis in self.axes)


class Pool1dCase(PoolCase):
    rank = 1


class Pool3dCase(PoolCase):
    rank, Problem, family = 3, Pool3dProblem, "pool3d"


def views():
    inputs = st.sampled_from(("nchw", "nhwc", *INPUT_VIEWS))
    return st.tuples(inputs, inputs, inputs, st.sampled_from(("none", "none", *OUTPUT_VIEWS)))


def seeds():
    return st.integers(0, 2**16 - 1)


# ---- convolution -------------------------------------------------------------------------------

@st.composite
def _channels(draw):
    """(groups, input channels, output channels): dense, grouped, in small groups or depthwise."""
    kind = draw(st.sampled_from(("dense", "dense", "dense", "grouped", "small", "depthwise")))
    if kind == "dense":
        return 1, draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS))
    if kind == "grouped":
        groups = draw(st.integers(2, 5))
        small = st.sampled_from(CHANNELS[:12])
        return groups, groups * draw(small), groups * draw(small)
    if kind == "small":  # together they fill vectors, or not quite
        groups, few = draw(st.integers(2, 9)), draw(st.sampled_from((2, 3, 4, 8)))
        return groups, groups * few, groups * few
    channels = draw(st.sampled_from(CHANNELS))
    return channels, channels, channels * draw(st.sampled_from((1, 1, 2, 3)))


@st.composite
def _axis(draw, kernels, room, plain, same=False):
    """(size, out, kernel, stride, before, after, dilation), the output at most `room` long, and as
    long as the input where `same` and the stride is 1."""
    kernel = draw(st.sampled_from(kernels))
    stride = 1 if plain else draw(st.sampled_from((1, 1, 1, 2, 2, 3, 4)))
    dilation = 1 if plain or kernel == 1 else draw(st.sampled_from((1, 1, 1, 2, 3)))
    span = dilation * (kernel - 1) + 1
    wanted = draw(st.sampled_from([width for width in WIDTHS if width <= max(1, room)]))
    pads = (0, 0, kernel // 2, span - 1, span, span + 1) if kernels != (1,) else (0, 0, 0, 1)
    before, after = (draw(st.sampled_from(pads)) for _ in range(2))
    if same:
        before, after = span // 2, (span - 1) // 2
    spare = draw(st.integers(0, stride - 1))
    size = max(1, (wanted - 1) * stride + span + spare - before - after)
    out = output_size(size, before, after, kernel, stride, dilation)
    return size, out, kernel, stride, before, after, dilation


@st.composite
def conv2d_cases(draw, dtypes=DTYPES, only_3x3=False):
    """Any problem; or one with a 3x3 kernel, no stride and no dilation."""
    if not only_3x3 and draw(st.integers(0, 7)) == 0:
        return draw(_fully_connected_cases(dtypes))
    g, ic, oc = draw(_channels())
    n = draw(st.sampled_from((1, 1, 2, 3, 5, 0)))
    room = max(1, MAX_MACS // max(1, n * oc * (ic // g)))
    kernels = (1, 2, 3, 3, 3, 4, 5, 7, 11) if room >= 500 else (1, 2, 3, 3, 3)
    kernels = (3,) if only_3x3 else kernels
    if not only_3x3 and draw(st.integers(0, 5)) == 0:
        kernels = (1,)  # 1x1 has kernels of its own; rarely would both axes draw it
    same = draw(st.sampled_from((False, False, True)))  # as most layers of networks are
    if same and not only_3x3 and draw(st.booleans()):
        kernels, only_3x3 = (3,), True
    ih, oh, kh, sh, pt, pb, dh = draw(_axis(kernels, min(18, room // 9), only_3x3, same))
    iw, ow, kw, sw, pl, pr, dw = draw(_axis(kernels, min(65, room // (oh * kh * 3)), only_3x3,
                                            same))
    problem = Conv2dProblem(
        n=n, g=g, ic=ic, ih=ih, iw=iw, oc=oc, oh=oh, ow=ow, kh=kh, kw=kw, stride_h=sh,
        stride_w=sw, pad_t=pt, pad_b=_touched(ih, pt, kh, sh, dh, oh), pad_l=pl,
        pad_r=_touched(iw, pl, kw, sw, dw, ow), dil_h=dh, dil_w=dw,
        dtype=named_dtype(draw(st.sampled_from(dtypes))), bias=draw(st.booleans()),
        activation=draw(st.sampled_from((None, None, "relu"))))
    return draw(_conv_case(problem))


@st.composite
def _fully_connected_cases(draw, dtypes):
    """Images of one pixel, batches and channels across all blocks of their kernels."""
    g, ic, oc = draw(st.sampled_from((1, 1, 1, 2, 3))), *draw(st.sampled_from(FEATURES))
    n = draw(st.sampled_from([n for n in (1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 65, 130, 0)
                              if n * ic * oc <= MAX_MACS]))
    stride, size = draw(st.sampled_from(((1, 1), (1, 1), (3, 3), (4, 2))))
    problem = Conv2dProblem(
        n=n, g=g, ic=g * ic, ih=size, iw=size, oc=g * oc, oh=1, ow=1, kh=1, kw=1,
        stride_h=stride, stride_w=stride, pad_t=0, pad_b=0, pad_l=0, pad_r=0, dil_h=1, dil_w=1,
        dtype=named_dtype(draw(st.sampled_from(dtypes))), bias=draw(st.booleans()),
        activation=draw(st.sampled_from((None, None, "relu"))))
    return draw(_conv_case(problem))


@st.composite
def _conv_case(draw, problem):
    memory = draw(views())
    order = "nhwc" if memory[0] == "nhwc" else "nchw"
    return ConvCase(replace(problem, order=order), draw(seeds()), memory, draw(st.booleans()))


def _touched(size, before, kernel, stride, dilation, out):
    """The trailing padding that the last window reaches."""
    return max(0, (out - 1) * stride + dilation * (kernel - 1) + 1 - before - size)


@st.composite
def conv1d_cases(draw, dtypes=DTYPES):
    g, ic, oc = draw(_channels())
    n = draw(st.sampled_from((1, 1, 2, 3, 0)))
    room = max(1, MAX_MACS // max(1, n * oc * (ic // g)))
    axis = Axis(*draw(_axis((1, 2, 3, 3, 5, 9), min(65, room // 9), False)))
    return draw(_finished(Conv1dCase, n, g, ic, oc, [axis], dtypes))


@st.composite
def conv3d_cases(draw, dtypes=DTYPES, only_3x3=False):
    g, ic, oc = draw(_channels())
    n = draw(st.sampled_from((1, 1, 2, 4, 0)))
    room = max(1, MAX_MACS // (8 * max(1, n * oc * (ic // g))))
    depth = Axis(*draw(_axis((1, 2, 3, 3, 4), min(7, room // 9), False)))
    kernels = (3,) if only_3x3 else (1, 2, 3, 3)
    room //= depth.out * depth.kernel
    height = Axis(*draw(_axis(kernels, min(7, room // 9), only_3x3)))
    room //= height.out * height.kernel
    width = Axis(*draw(_axis(kernels, min(17, room // 3), only_3x3)))
    return draw(_finished(Conv3dCase, n, g, ic, oc, [depth, height, width], dtypes))


@st.composite
def _finished(draw, case, n, g, ic, oc, axes, dtypes):
    memory = draw(views())
    problem = conv_problem(
        n, g, ic, oc, axes, dtype=named_dtype(draw(st.sampled_from(dtypes))),
        order="nhwc" if memory[0] == "nhwc" else "nchw", bias=draw(st.booleans()),
        activation=draw(st.sampled_from((None, None, "relu"))))
    return case(problem, draw(seeds()), memory, draw(st.booleans()))


# ---- pooling -----------------------------------------------------------------------------------

@st.composite
def _pool_axis(draw, room, ceil_mode):
    kernel = draw(st.sampled_from((1, 2, 2, 3, 3, 4, 5, 7)))
    stride = draw(st.sampled_from((1, 2, 2, 3, 4, kernel)))
    dilation = draw(st.sampled_from((1, 1, 1, 2, 3)))
    before, after = (draw(st.sampled_from((0, 0, kernel // 2, kernel - 1))) for _ in range(2))
    size = draw(st.sampled_from([width for width in WIDTHS if width <= max(1, room)]))

    def axis(dilation):
        span = dilation * (kernel - 1) + 1
        fitting = max(size, span - before - after - (stride - 1 if ceil_mode else 0))
        out = output_size(fitting, before, after, kernel, stride, dilation)
        if ceil_mode and (out * stride + span <= fitting + before + after + stride - 1
                          and out * stride < fitting + before):
            out += 1
        return fitting, out, kernel, stride, before, after, dilation

    return axis(dilation) if _all_see_input(*axis(dilation)) else axis(1)


def _all_see_input(size, out, kernel, stride, before, after, dilation):
    """Whether every window holds an element of the input, as pooling asks."""
    return all(any(0 <= i * stride - before + k * dilation < size for k in range(kernel))
               for i in range(out))


@st.composite
def pool2d_cases(draw, kinds=("max", "min", "avg", "lp"), dtypes=DTYPES):
    kind = draw(st.sampled_from(kinds))
    c, n = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from((1, 1, 2, 3, 0)))
    room = max(1, 20_000 // (c * max(1, n)))
    ceil_mode = draw(st.booleans())
    ih, oh, kh, sh, pt, pb, dh = draw(_pool_axis(min(12, room), ceil_mode))
    iw, ow, kw, sw, pl, pr, dw = draw(_pool_axis(min(65, room // ih), ceil_mode))
    if kind in ("avg", "lp"):
        dtypes = [name for name in dtypes if name in FLOATS]
    problem = Pool2dProblem(
        kind=kind, n=n, c=c, ih=ih, iw=iw, oh=oh, ow=ow, kh=kh, kw=kw, stride_h=sh, stride_w=sw,
        pad_t=pt, pad_b=pb, pad_l=pl, pad_r=pr, dil_h=dh, dil_w=dw,
        count_include_pad=draw(st.booleans()) if kind == "avg" else True,
        p=draw(st.sampled_from((2.0, 1.0, 3.0, 2.5))) if kind == "lp" else 2.0,
        dtype=named_dtype(draw(st.sampled_from(dtypes))))
    memory = draw(views())
    order = "nhwc" if memory[0] == "nhwc" else "nchw"
    return PoolCase(replace(problem, order=order), draw(seeds()), memory, draw(st.booleans()))


@st.composite
def pool1d_cases(draw, kinds=("max", "min", "avg", "lp"), dtypes=DTYPES):
    return draw(_pool_case(Pool1dCase, (65,), kinds, dtypes))


@st.composite
def pool3d_cases(draw, kinds=("max", "min", "avg", "lp"), dtypes=DTYPES):
    return draw(_pool_case(Pool3dCase, (7, 7, 17), kinds, dtypes))


@st.composite
def _pool_case(draw, case, most, kinds, dtypes):
    kind = draw(st.sampled_from(kinds))
    c, n = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from((1, 1, 2, 3, 0)))
    room = max(1, 8_000 // (c * max(1, n)))
    ceil_mode, axes = draw(st.booleans()), []
    for size in most:
        axes.append(Axis(*draw(_pool_axis(min(size, room), ceil_mode))))
        room = max(1, room // axes[-1].size)
    if kind in ("avg", "lp"):
        dtypes = [name for name in dtypes if name in FLOATS]
    memory = draw(views())
    problem = pool_problem(
        kind, n, c, axes, count_include_pad=draw(st.booleans()) if kind == "avg" else True,
        p=draw(st.sampled_from((2.0, 1.0, 3.0, 2.5))) if kind == "lp" else 2.0,
        dtype=named_dtype(draw(st.sampled_from(dtypes))),
        order="nhwc" if memory[0] == "nhwc" else "nchw")
    return case(problem, draw(seeds()), memory, draw(st.booleans()))
