"""Where a model computes: on the host, with ndarrays, or on a GPU, with arrays of `engine.cuda`.

Layers, losses and optimizers are written once, over `engine` and NumPy's functions, and both take
either kind of array.  What is made anew is made ``like=`` an array that is there.
"""

from __future__ import annotations

import re

import numpy as np

HOST = "cpu"


def check(who: str, device) -> str:
    """The name of a device, "cpu" or "cuda:0"; raises if there is no such one."""
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", device) if isinstance(device, str) else None
    if found is None:
        raise ValueError(f'{who}: `device` is {device!r}, expected "cpu", "cuda" or "cuda:1"')
    return HOST if device == HOST else f"cuda:{found.group(1) or 0}"


def to_device(x: np.ndarray, device: str):
    """An array of the host on the device of that name."""
    if device == HOST:
        return x
    from engine import cuda

    return cuda.asarray(x, int(device.partition(":")[2]))


def to_host(x) -> np.ndarray:
    """An array of either kind as an ndarray."""
    if isinstance(x, np.ndarray):
        return x
    from engine import cuda

    return cuda.asnumpy(x)
