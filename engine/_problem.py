"""What is to be computed, as plain frozen values: geometry, dtype and memory order.

``str(problem)`` is the one spelling of a problem used in log lines, benchmark keys, the files of
``bench/shapes`` and the replay line of a failing test; ``parse`` reads it back.  The syntax is that
of oneDNN's benchdnn: ``d`` counts the *holes* of a dilation (0 is dense), and a width is left out
where it equals its height.

One spatial axis is a plane of height 1; a volume is a plane and what happens along its depth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

ORDERS = ("nchw", "nhwc")  # memory orders with kernels of their own; anything else counts as nchw

PRECISIONS = ("fp32", "fp32x3", "tf32", "bf16", "fp16")

_SHORT = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16",
          "int8": "s8", "int16": "s16", "int32": "s32", "int64": "s64",
          "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64"}
_LONG = {short: name for name, short in _SHORT.items()}


def named_dtype(name: str) -> np.dtype:
    """The dtype of that NumPy or ml_dtypes name."""
    if name == "bfloat16":
        import ml_dtypes  # only someone who holds such an array gets here

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def output_size(size: int, before: int, after: int, kernel: int, stride: int, dilation: int) -> int:
    """Number of windows that fit: floor((n + pad - dilation*(k-1) - 1) / stride) + 1."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def _needed_after(size: int, before: int, kernel: int, stride: int, dilation: int, out: int) -> int:
    """The part of the trailing padding that some window touches."""
    return max(0, (out - 1) * stride + dilation * (kernel - 1) + 1 - size - before)


@dataclass(frozen=True, slots=True)
class Conv2dProblem:
    """One 2-D convolution, shared by its forward and both backward directions.

    ``ic`` and ``oc`` count the channels of all ``g`` groups together.  Dilation is 1-based.
    ``pad_b`` and ``pad_r`` hold only the trailing padding that a window touches, so equal
    computations are equal problems.
    """

    n: int
    g: int
    ic: int
    ih: int
    iw: int
    oc: int
    oh: int
    ow: int
    kh: int
    kw: int
    stride_h: int = 1
    stride_w: int = 1
    pad_t: int = 0
    pad_b: int = 0
    pad_l: int = 0
    pad_r: int = 0
    dil_h: int = 1
    dil_w: int = 1
    dtype: np.dtype = np.dtype(np.float32)
    order: str = "nchw"  # memory order of x and y, one of ORDERS
    bias: bool = False
    activation: str | None = None  # only what kernels fuse: None or "relu"; cuda: any
    precision: str | None = None  # cuda: what float32 numbers are multiplied as

    @property
    def acc_dtype(self) -> np.dtype:
        """The dtype sums are held in: float32 for 16-bit floats, 64-bit for integers."""
        return accumulator(self.dtype)

    @property
    def macs(self) -> int:
        """Multiply-adds of any one direction, padding counted as if it were data."""
        return self.n * self.oc * self.oh * self.ow * (self.ic // self.g) * self.kh * self.kw

    @property
    def flops(self) -> int:
        return 2 * self.macs

    @property
    def nbytes(self) -> int:
        """Bytes of x, weight and y, each touched once."""
        return self.dtype.itemsize * (
            self.n * self.ic * self.ih * self.iw
            + self.oc * (self.ic // self.g) * self.kh * self.kw
            + self.n * self.oc * self.oh * self.ow)

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.ic, self.ih, self.iw)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.oc, self.ic // self.g, self.kh, self.kw)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.oc, self.oh, self.ow)

    @property
    def geometry(self) -> str:
        """The layer alone: no batch, dtype or memory order."""
        return (f"g{self.g}ic{self.ic}oc{self.oc}"
                + _pair("ih", self.ih, self.iw) + _pair("oh", self.oh, self.ow)
                + _pair("kh", self.kh, self.kw) + _pair("sh", self.stride_h, self.stride_w)
                + _pair("dh", self.dil_h - 1, self.dil_w - 1)
                + _pair("ph", self.pad_t, self.pad_l))

    def __str__(self) -> str:
        return (f"conv2d:{_SHORT[self.dtype.name]}:{self.order}:mb{self.n}{self.geometry}"
                + (":bias" if self.bias else "")
                + (f":{self.activation}" if self.activation else "")
                + (f":{self.precision}" if self.precision else ""))

    @classmethod
    def parse(cls, text: str, **changes) -> Conv2dProblem:
        """Read ``str(problem)`` or a bare geometry; ``changes`` replace fields afterwards."""
        parts = text.split(":")
        options: dict = {}
        if parts[0] == "conv2d":
            options.update(dtype=named_dtype(_LONG[parts[1]]), order=parts[2],
                           bias="bias" in parts[4:])
            options["activation"] = "relu" if "relu" in parts[4:] else None
            options["precision"] = next((each for each in PRECISIONS if each in parts[4:]), None)
            text = parts[3]
        f = _fields(text)
        ih, iw = _two(f, "ih", "iw")
        oh, ow = _two(f, "oh", "ow")
        kh, kw = _two(f, "kh", "kw")
        sh, sw = _two(f, "sh", "sw", 1)
        dh, dw = (d + 1 for d in _two(f, "dh", "dw", 0))
        pt, pl = _two(f, "ph", "pw", 0)
        problem = cls(n=f.get("mb", 1), g=f.get("g", 1), ic=f["ic"], ih=ih, iw=iw, oc=f["oc"],
                      oh=oh, ow=ow, kh=kh, kw=kw, stride_h=sh, stride_w=sw,
                      pad_t=pt, pad_b=_needed_after(ih, pt, kh, sh, dh, oh),
                      pad_l=pl, pad_r=_needed_after(iw, pl, kw, sw, dw, ow),
                      dil_h=dh, dil_w=dw, **options)
        return replace(problem, **changes) if changes else problem


@dataclass(frozen=True, slots=True)
class Pool2dProblem:
    """One 2-D pooling, forward and backward.

    ``kind`` is "max", "min", "avg" or "lp".  An adaptive problem has windows
    [floor(i*ih/oh), ceil((i+1)*ih/oh)) and ignores kernel, stride, padding and dilation.
    """

    kind: str
    n: int
    c: int
    ih: int
    iw: int
    oh: int
    ow: int
    kh: int
    kw: int
    stride_h: int = 1
    stride_w: int = 1
    pad_t: int = 0
    pad_b: int = 0
    pad_l: int = 0
    pad_r: int = 0
    dil_h: int = 1
    dil_w: int = 1
    count_include_pad: bool = True  # avg: padding counts in the divisor, ceil-mode overhang never
    p: float = 2.0  # lp: the norm's exponent
    adaptive: bool = False
    dtype: np.dtype = np.dtype(np.float32)
    order: str = "nchw"

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.c, self.ih, self.iw)

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        return (self.n, self.c, self.oh, self.ow)

    @property
    def acc_dtype(self) -> np.dtype:
        return accumulator(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of x and y, each touched once."""
        return self.dtype.itemsize * self.n * self.c * (self.ih * self.iw + self.oh * self.ow)

    @property
    def geometry(self) -> str:
        return (f"ic{self.c}" + _pair("ih", self.ih, self.iw) + _pair("oh", self.oh, self.ow)
                + _pair("kh", self.kh, self.kw) + _pair("sh", self.stride_h, self.stride_w)
                + _pair("dh", self.dil_h - 1, self.dil_w - 1) + _pair("ph", self.pad_t, self.pad_l)
                + _pair("bh", self.pad_b, self.pad_r))

    def __str__(self) -> str:
        flags = [] if self.count_include_pad else ["exclude_pad"]
        flags += [f"p{self.p:g}"] if self.kind == "lp" else []
        flags += ["adaptive"] if self.adaptive else []
        return ":".join([f"{self.kind}_pool2d", _SHORT[self.dtype.name], self.order,
                         f"mb{self.n}{self.geometry}", *flags])

    @classmethod
    def parse(cls, text: str, kind: str = "max", **changes) -> Pool2dProblem:
        """Read ``str(problem)`` or a bare geometry; ``changes`` replace fields afterwards.

        ``bh``/``bw`` is the trailing padding (equal to the leading one if left out); a missing
        ``oh``/``ow`` follows from the floor rule.
        """
        parts = text.split(":")
        options: dict = {}
        if parts[0].endswith("_pool2d"):
            kind = parts[0].removesuffix("_pool2d")
            options.update(dtype=named_dtype(_LONG[parts[1]]), order=parts[2],
                           count_include_pad="exclude_pad" not in parts[4:],
                           adaptive="adaptive" in parts[4:])
            options.update(("p", float(part[1:])) for part in parts[4:] if part.startswith("p"))
            text = parts[3]
        f = _fields(text)
        ih, iw = _two(f, "ih", "iw")
        kh, kw = _two(f, "kh", "kw")
        sh, sw = _two(f, "sh", "sw", 1)
        dh, dw = (d + 1 for d in _two(f, "dh", "dw", 0))
        pt, pl = _two(f, "ph", "pw", 0)
        pb, pr = _two(f, "bh", "bw", None) if "bh" in f else (pt, pl)
        oh = f.get("oh", output_size(ih, pt, pb, kh, sh, dh))
        ow = f.get("ow", f.get("oh", output_size(iw, pl, pr, kw, sw, dw)))
        problem = cls(kind=kind, n=f.get("mb", 1), c=f["ic"], ih=ih, iw=iw, oh=oh, ow=ow,
                      kh=kh, kw=kw, stride_h=sh, stride_w=sw, pad_t=pt, pad_b=pb, pad_l=pl,
                      pad_r=pr, dil_h=dh, dil_w=dw, **options)
        return replace(problem, **changes) if changes else problem


class Axis(NamedTuple):
    """What happens along one spatial axis."""

    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1


@dataclass(frozen=True, slots=True)
class _Volume:
    """A problem in the plane, and what happens along the depth."""

    plane: Conv2dProblem | Pool2dProblem
    depth: Axis

    @property
    def n(self) -> int:
        return self.plane.n

    @property
    def dtype(self) -> np.dtype:
        return self.plane.dtype

    @property
    def acc_dtype(self) -> np.dtype:
        return self.plane.acc_dtype

    @property
    def order(self) -> str:
        return self.plane.order

    @property
    def x_shape(self) -> tuple[int, int, int, int, int]:
        n, c, h, w = self.plane.x_shape
        return (n, c, self.depth.size, h, w)

    @property
    def y_shape(self) -> tuple[int, int, int, int, int]:
        n, c, h, w = self.plane.y_shape
        return (n, c, self.depth.out, h, w)

    def __str__(self) -> str:
        name, dtype, order, geometry, *flags = str(self.plane).split(":")
        d = self.depth
        geometry += (f"id{d.size}od{d.out}kd{d.kernel}sd{d.stride}dd{d.dilation - 1}"
                     f"pd{d.before}bd{d.after}")
        return ":".join([name.replace("2d", "3d"), dtype, order, geometry, *flags])

    @classmethod
    def parse(cls, text: str, *kind: str, **changes):
        """Read ``str(problem)`` or a bare geometry; ``changes`` replace fields of the plane."""
        text = text.replace("3d:", "2d:")
        f = _fields(text.split(":")[3] if ":" in text else text)
        size, kernel, stride, before = f["id"], f["kd"], f.get("sd", 1), f.get("pd", 0)
        dilation, after = f.get("dd", 0) + 1, f.get("bd", before)
        out = f.get("od", output_size(size, before, after, kernel, stride, dilation))
        return cls(cls.Plane.parse(text, *kind, **changes),
                   Axis(size, out, kernel, stride, before, after, dilation))


@dataclass(frozen=True, slots=True)
class Conv3dProblem(_Volume):
    """One 3-D convolution, shared by its forward and both backward directions."""

    Plane = Conv2dProblem

    @property
    def oc(self) -> int:
        return self.plane.oc

    @property
    def weight_shape(self) -> tuple[int, int, int, int, int]:
        oc, ic, kh, kw = self.plane.weight_shape
        return (oc, ic, self.depth.kernel, kh, kw)

    @property
    def macs(self) -> int:
        """Multiply-adds of any one direction, padding counted as if it were data."""
        return self.plane.macs * self.depth.out * self.depth.kernel


@dataclass(frozen=True, slots=True)
class Pool3dProblem(_Volume):
    """One 3-D pooling, forward and backward."""

    Plane = Pool2dProblem


@dataclass(frozen=True, slots=True)
class NormProblem:
    """One batch normalisation: images (n, c, pixels), contiguous as they are or channels last."""

    n: int
    c: int
    pixels: int
    dtype: np.dtype
    order: str
    epsilon: float = 0.0
    activation: str | None = None

    @property
    def acc_dtype(self) -> np.dtype:
        return accumulator(self.dtype)

    def __str__(self) -> str:
        return (f"batch_norm:{_SHORT[self.dtype.name]}:{self.order}:mb{self.n}c{self.c}"
                f"i{self.pixels}" + (f":{self.activation}" if self.activation else ""))


@dataclass(frozen=True, slots=True)
class ReluProblem:
    """The gradient of max(x, 0) for so many numbers."""

    size: int
    dtype: np.dtype

    def __str__(self) -> str:
        return f"relu:{_SHORT[self.dtype.name]}:{self.size}"


def conv_problem(n, g, ic, oc, axes, **fields) -> Conv2dProblem | Conv3dProblem:
    """The convolution with those axes, one to three; of the padding only what a window touches."""
    axes = [axis._replace(after=_needed_after(axis.size, axis.before, axis.kernel, axis.stride,
                                              axis.dilation, axis.out)) for axis in axes]
    *depth, h, w = axes if len(axes) > 1 else [Axis(1, 1), *axes]
    plane = Conv2dProblem(n=n, g=g, ic=ic, oc=oc, **_plane_fields(h, w), **fields)
    return Conv3dProblem(plane, *depth) if depth else plane


def pool_problem(kind, n, c, axes, **fields) -> Pool2dProblem | Pool3dProblem:
    """The pooling with those axes, one to three."""
    *depth, h, w = axes if len(axes) > 1 else [Axis(1, 1), *axes]
    plane = Pool2dProblem(kind=kind, n=n, c=c, **_plane_fields(h, w), **fields)
    return Pool3dProblem(plane, *depth) if depth else plane


def _plane_fields(h: Axis, w: Axis) -> dict[str, int]:
    return {"ih": h.size, "iw": w.size, "oh": h.out, "ow": w.out, "kh": h.kernel, "kw": w.kernel,
            "stride_h": h.stride, "stride_w": w.stride, "dil_h": h.dilation, "dil_w": w.dilation,
            "pad_t": h.before, "pad_b": h.after, "pad_l": w.before, "pad_r": w.after}


def changed(problem, **changes):
    """The problem with other fields, in a volume those of its plane."""
    if isinstance(problem, _Volume):
        return replace(problem, plane=replace(problem.plane, **changes))
    return replace(problem, **changes)


def accumulator(dtype: np.dtype) -> np.dtype:
    """The dtype in which values of ``dtype`` are summed."""
    if dtype.kind in "iu":
        return np.dtype(np.int64 if dtype.kind == "i" else np.uint64)
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def widened(dtype: np.dtype) -> np.dtype:
    """The dtype itself, float32 for 16-bit floats: that of steps between which none is rounded."""
    return dtype if dtype.kind in "iu" else accumulator(dtype)


def memory_order(array: np.ndarray) -> str:
    """"nhwc" if the channel axis of a kernel's array varies fastest in memory, else "nchw".

    Axes of one element have no order of their own, so an array that is both counts as "nchw".
    """
    c, step = array.shape[1], array.strides[1]
    if c == 1 or step != array.itemsize:
        return "nchw"
    least = c * step  # what a step along the next larger axis is at least
    several = False
    for size, stride in zip(array.shape[:1:-1], array.strides[:1:-1], strict=True):
        if size > 1:
            if stride < least:
                return "nchw"
            least, several = stride, True
        elif size == 0:
            return "nchw"
    return "nhwc" if several else "nchw"


def empty(shape: tuple[int, ...], dtype: np.dtype, order: str) -> np.ndarray:
    """A new array of that shape for kernels, whose memory is in ``order``."""
    if order == "nhwc":
        return channels_first(np.empty((shape[0], *shape[2:], shape[1]), dtype))
    return np.empty(shape, dtype)


def channels_first(array: np.ndarray) -> np.ndarray:
    """View (n, h, w, c) or (n, d, h, w, c) as kernels do."""
    return array.transpose(0, array.ndim - 1, *range(1, array.ndim - 1))


def _pair(name: str, height: int, width: int) -> str:
    return f"{name}{height}" if height == width else f"{name}{height}{name[0]}w{width}"


def _fields(text: str) -> dict[str, int]:
    if not re.fullmatch(r"(?:[a-z]+\d+)+", text):
        raise ValueError(f"problem: `{text}` is not of the form name/number, e.g. "
                         "mb1g1ic3oc8ih32oh32kh3sh1dh0ph1")
    return {name: int(number) for name, number in re.findall(r"([a-z]+)(\d+)", text)}


def _two(fields: dict[str, int], height: str, width: str, default=None) -> tuple[int, int]:
    h = fields.get(height, default)
    return h, fields.get(width, h)
