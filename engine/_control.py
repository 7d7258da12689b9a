"""What a user sets for all calls: threads and the backend; and a report of what is in force."""

from __future__ import annotations

from contextlib import contextmanager

from engine import _check, _config


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
def num_threads(threads: int):
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
    token = _config.context_threads.set(_check.integer("num_threads", "threads", threads, minimum=1))
    try:
        yield
    finally:
        _config.context_threads.reset(token)


@contextmanager
def use_backend(backend: str | None):
    """Run the calls inside the ``with`` block on `backend`, as if each were given ``backend=``.

    Nothing falls back silently: a call that this backend refuses raises ValueError.  Only this
    thread of Python (or this asyncio task) is affected.

    Parameters
    ----------
    backend : {"c", "numba", "numpy"} or None
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
