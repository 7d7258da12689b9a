"""What a user sets for all calls: threads and the backend; and a report of what is in force."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from engine import _check, _config
from engine._typing import Backend


def set_num_threads(threads: int) -> None:
    """Let one call use at most `threads` threads, here and in every Python thread.

    Results do not depend on this number, bit for bit.  The default is ENGINE_NUM_THREADS, else
    the number of CPUs this process may run on.

    Raises
    ------
    TypeError, ValueError
        If `threads` is not a positive integer.

    Examples
    --------
    >>> import engine
    >>> before = engine.get_num_threads()
    >>> engine.set_num_threads(1)
    >>> engine.get_num_threads()
    1
    >>> engine.set_num_threads(before)
    """
    _config.default_threads = _check.integer("set_num_threads", "threads", threads, minimum=1)


def get_num_threads() -> int:
    """Return how many threads one call may use in this context.

    Examples
    --------
    >>> import engine
    >>> engine.get_num_threads() >= 1
    True
    """
    return _config.num_threads()


@contextmanager
def num_threads(threads: int) -> Iterator[None]:
    """Let the calls inside the ``with`` block use at most `threads` threads each.

    Only this thread of Python (or this asyncio task) is affected.

    Raises
    ------
    TypeError, ValueError
        If `threads` is not a positive integer.

    Examples
    --------
    >>> import engine
    >>> with engine.num_threads(1):
    ...     engine.get_num_threads()
    1
    """
    limit = _check.integer("num_threads", "threads", threads, minimum=1)
    token = _config.context_threads.set(limit)
    try:
        yield
    finally:
        _config.context_threads.reset(token)


@contextmanager
def use_backend(backend: Backend | None) -> Iterator[None]:
    """Run the calls inside the ``with`` block on `backend`, as if each were given ``backend=``.

    Nothing falls back silently: a call that this backend refuses raises ValueError.  Only this
    thread of Python (or this asyncio task) is affected.

    Parameters
    ----------
    backend : {"c", "numba", "numpy", "cuda"} or None
        None lets every call take the best backend that can do it.

    Raises
    ------
    TypeError, ValueError
        If there is no such backend.

    Examples
    --------
    >>> import engine, numpy as np
    >>> with engine.use_backend("numpy"):
    ...     engine.conv2d(np.ones((3, 3)), np.ones((2, 2)))
    array([[4., 4.],
           [4., 4.]])
    """
    token = _config.mode.set(_config.Mode(_check.backend("use_backend", backend)))
    try:
        yield
    finally:
        _config.mode.reset(token)


def show_config() -> None:
    """Print the version, the backends, the threads and the environment that are in force.

    Examples
    --------
    >>> import engine
    >>> engine.show_config()  # doctest: +SKIP
    engine 0.1.0, Python 3.11.7, NumPy 2.4.6
    backend      the best that can
      c          avx512 (of baseline, avx2, avx512)
      numba      0.68.1
      numpy      2.4.6
      cuda       there is no CUDA device to be used (looked for ...)
    threads      2 (this process may use 2 CPUs)
    """
    lines = [f"engine {version('convengine')}, Python {platform.python_version()}, "
             f"NumPy {np.__version__}",
             f"backend      {_config.mode.get().backend or 'the best that can'}",
             f"  c          {_c_library()}",
             f"  numba      {version('numba')}",
             f"  numpy      {np.__version__}",
             f"  cuda       {_cuda_device()}",
             f"threads      {_config.num_threads()} (this process may use "
             f"{_config.available_cpus()} CPUs)"]
    lines += [f"{name}={value}" for name, value in sorted(os.environ.items())
              if name.startswith("ENGINE_")]
    print("\n".join(lines))


def version(distribution: str) -> str:
    """The installed version of a distribution, without importing it."""
    from importlib import metadata  # slow to import, and seldom needed

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _c_library() -> str:
    from engine import _library

    if _library.lib is None:
        return "not built"
    return f"{_library.get_isa()} (of {', '.join(_library.isa_levels())})"


def _cuda_device() -> str:
    from engine.kernels.cuda_support.toolchain import driver

    return driver.missing() or f"{driver.device(0).target}, numba-cuda {version('numba-cuda')}"
