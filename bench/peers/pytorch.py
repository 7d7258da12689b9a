"""PyTorch on the CPU: the public forward functions, and of backward only the gradient asked for."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from bench.cases import CONV_OPS, Case, ceil_mode, symmetric_padding

FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
_aten = torch.ops.aten


def version() -> str:
    return f"torch {torch.__version__}"


def start(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.inference_mode().__enter__()  # for the life of this process: no autograd bookkeeping


def prepare(case: Case, variant: str, inputs: dict[str, np.ndarray]):
    tensors = {name: _tensor(array).contiguous(memory_format=FORMATS[variant])
               for name, array in inputs.items()}
    kind = _convolution if case.op in CONV_OPS else _pooling
    return kind(case, **tensors)


def arrays(result) -> list[np.ndarray]:
    results = result if isinstance(result, tuple) else (result,)
    return [(r.float() if r.dtype in (torch.bfloat16, torch.float16) else r).numpy()
            for r in results]


def ran() -> str:
    return ""


def _tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype.name == "bfloat16":  # PyTorch does not know NumPy's name for it
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _convolution(case: Case, x, dy, weight):
    p = case.problem
    stride, dilation = (p.stride_h, p.stride_w), (p.dil_h, p.dil_w)
    padding = symmetric_padding(p)
    if case.op == "forward":
        return lambda: F.conv2d(x, weight, None, stride, padding, dilation, p.g)
    which = case.op == "backward_weight"

    def backward():
        return _aten.convolution_backward(dy, x, weight, None, stride, padding, dilation, False,
                                          (0, 0), p.g, (not which, which, False))[which]
    return backward


def _pooling(case: Case, x, dy):
    p = case.problem
    kernel, stride = (p.kh, p.kw), (p.stride_h, p.stride_w)
    padding, dilation, ceil = symmetric_padding(p), (p.dil_h, p.dil_w), ceil_mode(p)
    if case.op in ("max", "max_index"):
        return lambda: F.max_pool2d(x, kernel, stride, padding, dilation, ceil,
                                    return_indices=case.op == "max_index")
    if case.op == "max_backward":
        indices = F.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True)[1]
        return lambda: _aten.max_pool2d_with_indices_backward(
            dy, x, kernel, stride, padding, dilation, ceil, indices)
    if case.op == "avg":
        return lambda: F.avg_pool2d(x, kernel, stride, padding, ceil)
    return lambda: _aten.avg_pool2d_backward(dy, x, kernel, stride, padding, ceil, True, None)
