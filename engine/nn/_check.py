"""The checks of arguments to `engine.nn`, with messages in the form of `engine` itself.

``Conv2D: `kernel_size` is 0, expected at least 1`` says who, which argument, what it is and what it
must be.
"""

from __future__ import annotations

import operator

import numpy as np


def integer(who: str, name: str, value, minimum: int = 1) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{who}: `{name}` is {value!r}, expected an integer") from None
    if number < minimum:
        raise ValueError(f"{who}: `{name}` is {number}, expected at least {minimum}")
    return number


def sizes(who: str, name: str, value, count: int) -> tuple[int, ...]:
    """One size for each spatial axis, from one integer or as many as there are axes."""
    if not isinstance(value, (tuple, list)):
        return (integer(who, name, value),) * count
    if len(value) != count:
        raise ValueError(f"{who}: `{name}` has {len(value)} entries, expected {count}")
    return tuple(integer(who, name, each) for each in value)


def divides(who: str, name: str, value: int, count: int, what: str) -> None:
    if count % value:
        raise ValueError(f"{who}: `{name}` is {value}, expected a divisor of the {count} {what}")


def number(who: str, name: str, value, low: float, high: float = np.inf) -> float:
    """A real number in [low, high)."""
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{who}: `{name}` is {value!r}, expected a number") from None
    if not low <= result < high:
        upper = "" if high == np.inf else f" and below {high:g}"
        raise ValueError(f"{who}: `{name}` is {result:g}, expected at least {low:g}{upper}")
    return result


def option(who: str, name: str, value, known: tuple):
    if value not in known:
        names = ", ".join(repr(each) for each in known)
        raise ValueError(f"{who}: `{name}` is {value!r}, expected one of {names}")
    return value


def axes(who: str, shape: tuple[int, ...], ndim: int, hint: str) -> None:
    """The shape of one sample must have that many axes."""
    if len(shape) != ndim:
        raise ValueError(f"{who}: `x` has shape {('N', *shape)}, expected {ndim + 1} axes: {hint}"
                         .replace("'N'", "N"))


def samples(who: str, name: str, value, sample_shape: tuple[int, ...]) -> np.ndarray:
    """A batch of inputs: real numbers, of the shape the model was built for."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{who}: `{name}` has dtype {array.dtype}, expected real numbers")
    if array.shape[1:] != tuple(sample_shape) or array.ndim == 0:
        expected = ", ".join(["N", *map(str, sample_shape)])
        raise ValueError(f"{who}: `{name}` has shape {array.shape}, expected ({expected})")
    return array


def same_length(who: str, x: np.ndarray, y: np.ndarray) -> None:
    if len(x) != len(y):
        raise ValueError(f"{who}: `y` has {len(y)} samples, expected {len(x)} (as many as x)")
    if len(x) == 0:
        raise ValueError(f"{who}: `x` has 0 samples, expected at least 1")


def same_arrays(complaint: str, expected: dict, arrays: dict, fits=operator.eq) -> None:
    """The arrays must have those names, and shapes that fit; what does not is listed.

    `complaint` is the message up to the list, ``fits(shape, expected)`` compares two shapes.
    """
    missing = [name for name in expected if name not in arrays]
    unknown = [name for name in arrays if name not in expected]
    shapes = [f"{name} is {arrays[name].shape}, expected {value.shape}"
              for name, value in expected.items()
              if name in arrays and not fits(arrays[name].shape, value.shape)]
    faults = [f"{what}: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"
              for what, names in (("missing", missing), ("not known", unknown),
                                  ("of another shape", shapes)) if names]
    if faults:
        raise ValueError(f"{complaint}: {'; '.join(faults)}")
