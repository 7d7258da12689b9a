"""What is to be computed, as plain frozen values: geometry, dtype and memory order.

``str(problem)`` is the one spelling of a problem used in log lines, benchmark keys, the files of
``bench/shapes`` and the replay line of a failing test; ``Conv2dProblem.parse`` and
``Pool2dProblem.parse`` read it back.  The syntax is that of oneDNN's benchdnn: ``d`` counts the
*holes* of a dilation (0 is dense), and a width is left out where it equals its height.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

ORDERS = ("nchw", "nhwc")  # memory orders with kernels of their own; anything else counts as nchw

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
    activation: str | None = None  # only what kernels fuse: None or "relu"

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
                + (f":{self.activation}" if self.activation else ""))

    @classmethod
    def parse(cls, text: str, **changes) -> Conv2dProblem:
        """Read ``str(problem)`` or a bare geometry; ``changes`` replace fields afterwards."""
        parts = text.split(":")
        options: dict = {}
        if parts[0] == "conv2d":
            options.update(dtype=named_dtype(_LONG[parts[1]]), order=parts[2],
                           bias="bias" in parts[4:])
            options["activation"] = "relu" if "relu" in parts[4:] else None
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


def accumulator(dtype: np.dtype) -> np.dtype:
    """The dtype in which values of ``dtype`` are summed."""
    if dtype.kind in "iu":
        return np.dtype(np.int64 if dtype.kind == "i" else np.uint64)
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def memory_order(array: np.ndarray) -> str:
    """"nhwc" if the channel axis of an NCHW-shaped array varies fastest in memory, else "nchw".

    Axes of one element have no order of their own, so an array that is both counts as "nchw".
    """
    n, c, h, w = array.shape
    sn, sc, sh, sw = array.strides
    item = array.itemsize
    if c > 1 and sc == item and h * w > 1 and (w == 1 or sw >= c * item) and (h == 1 or sh >= sw):
        return "nhwc"
    return "nchw"


def empty(shape: tuple[int, int, int, int], dtype: np.dtype, order: str) -> np.ndarray:
    """A new NCHW-shaped array whose memory is in ``order``."""
    if order == "nhwc":
        n, c, h, w = shape
        return np.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    return np.empty(shape, dtype)


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
