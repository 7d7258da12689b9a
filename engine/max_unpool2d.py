"""The inverse of 2-D max-pooling as far as there is one, forward and backward."""

from __future__ import annotations

from engine import _check, _check_pool, _plan
from engine._axes import to_nchw
from engine._memory import empty_output


def max_unpool2d(x, indices, kernel_size, *, stride=None, padding=0, output_size=None,
                 layout="NCHW", out=None, backend=None):
    """Put what `max_pool2d` took back where it came from, with zeros everywhere else.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), (C, H, W) or (H, W): a result of `max_pool2d`.
    indices : array_like of int
        Where its elements belong, h * OW + w, as `max_pool2d` returns them.  Where two elements
        belong to one place the last of them stays.
    kernel_size, stride, padding : int or (int, int)
        Those of the pooling; they tell its input size (H - 1) * stride + kernel_size - 2 * padding.
    output_size : int or (int, int), optional
        That size, where the pooling left a rest.
    layout, out, backend
        As in `max_pool2d`.

    Returns
    -------
    ndarray
        (N, C, OH, OW), or without the axes that x does not have, in the dtype of x.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`; also for indices outside the plane.

    Examples
    --------
    >>> import engine
    >>> engine.max_unpool2d([[7]], [[3]], 2)
    array([[0, 0],
           [0, 7]])
    """
    op = "max_unpool2d"
    call, x, indices = _check_pool.unpool(op, x, indices, kernel_size, stride, padding,
                                          output_size, layout, backend)
    p = call.problem  # of the pooling that is undone: its x is our y
    places = _check_pool.places(call, indices)
    if out is not None:
        _check.output(op, out, call.x_shape, p.dtype, x=x, indices=indices)
    y = empty_output(p.x_shape, p.dtype, p.order) if out is None else to_nchw(out, layout)
    _plan.of(call, "forward")(call.to_kernel(x), places, y)
    return call.to_user(y) if out is None else out


def max_unpool2d_backward(dy, x, indices, kernel_size, *, stride=None, padding=0,
                          output_size=None, layout="NCHW", backend=None):
    """Gradient of `max_unpool2d` with respect to x: dy at the indices.

    Examples
    --------
    >>> import engine
    >>> engine.max_unpool2d_backward([[1, 2], [3, 4]], [[7]], [[3]], 2)
    array([[4]])
    """
    op = "max_unpool2d_backward"
    call, dy, indices = _check_pool.unpool_backward(op, dy, x, indices, kernel_size, stride,
                                                    padding, output_size, layout, backend)
    p = call.problem
    dx = empty_output(p.y_shape, p.dtype, p.order)
    _plan.of(call, "backward")(call.to_kernel(dy), _check_pool.places(call, indices), dx)
    return call.to_user(dx)
