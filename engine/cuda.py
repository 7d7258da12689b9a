"""Arrays on the GPU for who has no library of such arrays: copied there, and back to the host.

``import engine.cuda``; all of `engine` takes these arrays, and so do NumPy's functions.  Arrays of
CuPy and PyTorch need nothing of this: they are taken as they are.
"""

from __future__ import annotations

import numpy as np

__all__ = ["asarray", "asnumpy", "is_available", "is_cuda"]


def is_available() -> bool:
    """Whether there is a CUDA device to be used.

    Examples
    --------
    >>> import engine.cuda
    >>> engine.cuda.is_available() in (True, False)
    True
    """
    from engine.kernels.cuda_support.toolchain import driver

    return driver.missing() is None


def asarray(x, device: int = 0):
    """x on a CUDA device.

    Parameters
    ----------
    x : array_like
        Of the host, which is copied; or a CUDA array of any library, whose memory is shared.
    device : int
        The number of the device that arrays of the host go to.

    Returns
    -------
    DeviceArray
        With the shape, dtype and memory order of x.  Universal functions, indexing by slices,
        ``sum``, ``max``, ``mean``, ``where``, ``concatenate`` and others of NumPy compute with it
        on the device; what they cannot do raises TypeError.

    Raises
    ------
    RuntimeError
        If there is no device; the message says what was looked for.
    TypeError
        For a dtype that the device does not have.
    """
    from engine.kernels.cuda_support import arrays
    from engine.kernels.cuda_support.device_array import DeviceArray
    from engine.kernels.cuda_support.toolchain import driver

    if isinstance(x, DeviceArray):
        return x
    if driver.missing():
        raise RuntimeError(f"asarray: {driver.missing()}")
    if arrays.is_cuda(x):
        seen = arrays.see(x)
        return DeviceArray(driver.device(seen.ordinal), seen.view.__array_interface__["data"][0],
                           seen.view.shape, seen.view.strides, seen.view.dtype, x, seen.stream)
    return DeviceArray.copied(driver.device(device), np.asarray(x))


def asnumpy(x) -> np.ndarray:
    """x as an ndarray of the host: a CUDA array is copied, others are as they are."""
    from engine.kernels.cuda_support import arrays

    return asarray(x).copy_to_host() if arrays.is_cuda(x) else np.asarray(x)


def is_cuda(x) -> bool:
    """Whether x is an array on a CUDA device."""
    from engine.kernels.cuda_support import arrays

    return arrays.is_cuda(x)
