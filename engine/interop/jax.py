"""JAX: convolution and pooling under jit, grad and vmap, on the CPU.

>>> import jax, jax.numpy as jnp
>>> from engine.interop.jax import conv2d
>>> weight = jnp.ones((1, 1, 2, 2))
>>> jax.jit(jax.grad(lambda x: conv2d(x, weight).sum()))(jnp.ones((1, 1, 3, 3)))[0, 0, 1]
Array([2., 4., 2.], dtype=float32)

The functions have the names and arguments of `engine`'s; images are channels first.  XLA calls
back into Python for them, where nothing but NumPy and engine is touched.
Gradients are functions of the same kind, so that they can be differentiated again, in reverse mode.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

import engine
from engine._axes import rank_of
from engine.interop._operations import family
from engine.nn._extras import need

jax = need("jax", "engine.interop.jax", "jax")
jnp = jax.numpy
Primitive = need("jax.extend.core", "engine.interop.jax", "jax").Primitive
batching, mlir = (need(f"jax.interpreters.{name}", "engine.interop.jax", "jax")
                  for name in ("batching", "mlir"))


class Call(NamedTuple):
    """What is known of a call before there are numbers."""

    op: str
    options: tuple[tuple[str, object], ...]
    x_shape: tuple[int, ...]
    weight_shape: tuple[int, ...] = ()

    @property
    def function(self):
        return partial(getattr(engine, self.op), **dict(self.options))

    def backward(self, suffix="_backward", **more):
        return partial(getattr(engine, self.op + suffix), **dict(self.options), **more)


def _call(op, options, x, weight=None) -> Call:
    options = tuple((name, _hashable(value)) for name, value in options.items())
    return Call(op, options, x.shape, () if weight is None else weight.shape)


def _hashable(value):
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value


# ---- from XLA to NumPy ---------------------------------------------------------------------------

# `jax.pure_callback` copies large arguments with the threads of XLA, one of which waits for the
# copy meanwhile: with one processor for ever.  This primitive is a callback without that copy.
_on_host = Primitive("engine")
_on_host.multiple_results = True


def _run(function, results, *arrays):
    """``function(*arrays)`` once there are numbers; `results` say its shapes and dtypes."""
    several = isinstance(results, tuple)
    avals = tuple((each.shape, each.dtype) for each in (results if several else (results,)))
    values = _on_host.bind(*arrays, function=function if several else lambda *xs: (function(*xs),),
                           mapped=(), avals=avals)
    return tuple(values) if several else values[0]


def _compute(*arrays, function, mapped, avals):
    """The values, from NumPy arrays; `mapped` are the sizes of the axes that vmap put in front."""
    arrays = [np.asarray(each) for each in arrays]
    if not mapped:
        return tuple(value.astype(dtype, copy=False)
                     for value, (_, dtype) in zip(function(*arrays), avals, strict=True))
    arrays = [np.broadcast_to(each, mapped + each.shape[len(mapped):]) for each in arrays]
    each_result = [function(*(each[place] for each in arrays)) for place in np.ndindex(mapped)]
    return tuple(np.reshape(values, shape).astype(dtype, copy=False) for values, (shape, dtype)
                 in zip(zip(*each_result, strict=True), avals, strict=True))


@_on_host.def_impl
def _at_once(*arrays, **params):
    return [jnp.asarray(value) for value in _compute(*arrays, **params)]


@_on_host.def_abstract_eval
def _avals(*_, avals, **params):
    return [jax.core.ShapedArray(*aval) for aval in avals]


def _lower(context, *operands, **params):
    values, *_ = mlir.emit_python_callback(
        context, partial(_compute, **params), None, list(operands), context.avals_in,
        context.avals_out, has_side_effect=False)
    return values


def _vmap(arrays, axes, *, mapped, avals, **params):
    size, = {array.shape[axis] for array, axis in zip(arrays, axes, strict=True)
             if axis is not None}
    arrays = [jnp.expand_dims(array, 0) if axis is None else jnp.moveaxis(array, axis, 0)
              for array, axis in zip(arrays, axes, strict=True)]
    values = _on_host.bind(*arrays, mapped=(size, *mapped), avals=tuple(
        ((size, *shape), dtype) for shape, dtype in avals), **params)
    return values, [0] * len(values)


mlir.register_lowering(_on_host, _lower, platform="cpu")
batching.primitive_batchers[_on_host] = _vmap


def _like(shape, *arrays):
    """A result of that shape and of the dtype that arrays of these make."""
    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(
        np.result_type(*(each.dtype for each in arrays))))


def _result(call, x, function=None):
    """The shape and dtype of y: but for the number of images, those of an empty batch."""
    missing = rank_of(call.op) + 2 - x.ndim
    n, *image = (1,) * missing + x.shape
    y = (function or call.function)(np.empty((0, *image), x.dtype))
    return _like((n, *y.shape[1:])[missing:], y)


def _derivative(function, first, second):
    """Let `first` and `second`, of (call, gradient, saved arrays), be the gradients of function."""
    function.defvjp(lambda call, a, b: (function(call, a, b), (a, b)),
                    lambda call, saved, d: (first(call, d, *saved), second(call, d, *saved)))


# ---- convolution -------------------------------------------------------------------------------

@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv(call, x, weight):
    filters = np.empty((1,) * (rank_of(call.op) + 2 - weight.ndim) + weight.shape, weight.dtype)
    y = _result(call, x, lambda images: call.function(images, filters))
    return _run(call.function, y, x, weight)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv_data(call, dy, weight):
    return _run(call.backward("_backward_data", x_shape=call.x_shape),
                _like(call.x_shape, dy, weight), dy, weight)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv_weight(call, dy, x):
    return _run(call.backward("_backward_weight", weight_shape=call.weight_shape),
                _like(call.weight_shape, dy, x), dy, x)


# The three ways to read the sum over dy * x * weight.
_derivative(_conv, lambda call, dy, x, weight: _conv_data(call, dy, weight),
            lambda call, dy, x, weight: _conv_weight(call, dy, x))
_derivative(_conv_data, lambda call, ddx, dy, weight: _conv(call, ddx, weight),
            lambda call, ddx, dy, weight: _conv_weight(call, dy, ddx))
_derivative(_conv_weight, lambda call, ddweight, dy, x: _conv(call, x, ddweight),
            lambda call, ddweight, dy, x: _conv_data(call, dy, ddweight))


def _convolve(op, x, weight, bias=None, **options):
    x, weight = jnp.asarray(x), jnp.asarray(weight)
    y = _conv(_call(op, options, x, weight), x, weight)
    if bias is None:
        return y
    channels = y.ndim - rank_of(op) - 1
    return y + (bias if channels < 0 else jnp.reshape(bias, (-1, *(1,) * rank_of(op))))


conv1d, conv2d, conv3d = family("conv{}d", _convolve, __name__)
conv_transpose1d, conv_transpose2d, conv_transpose3d = family("conv_transpose{}d", _convolve,
                                                              __name__)


# ---- pooling -----------------------------------------------------------------------------------

@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mean(call, x):
    return _run(call.function, _result(call, x), x)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mean_backward(call, dy):
    return _run(call.backward(x=call.x_shape), _like(call.x_shape, dy), dy)


_mean.defvjp(lambda call, x: (_mean(call, x), None),
             lambda call, _, dy: (_mean_backward(call, dy),))
_mean_backward.defvjp(lambda call, dy: (_mean_backward(call, dy), None),
                      lambda call, _, ddx: (_mean(call, ddx),))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _extreme(call, x):
    y = _result(call, x)
    return _run(partial(call.function, return_indices=True), (y, _like(y.shape, np.int64(0))), x)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _extreme_backward(call, dy, indices):
    def spread(dy, indices):
        return call.backward()(dy, call.x_shape, indices=indices)

    return _run(spread, _like(call.x_shape, dy), dy, indices)


def _gather(call, array, indices):
    """The elements of every plane at the indices within it."""
    rank = rank_of(call.op)
    flat = (*indices.shape[:-rank], -1)
    return jnp.take_along_axis(array.reshape(flat), indices.reshape(flat), -1).reshape(
        indices.shape)


def _extreme_fwd(call, x):
    y, indices = _extreme(call, x)
    return (y, indices), indices


_extreme.defvjp(_extreme_fwd,
                lambda call, indices, dy: (_extreme_backward(call, dy[0], indices),))
_extreme_backward.defvjp(
    lambda call, dy, indices: (_extreme_backward(call, dy, indices), indices),
    lambda call, indices, ddx: (_gather(call, ddx, indices), None))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _norm(call, x):
    return _run(call.function, _result(call, x), x)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _norm_backward(call, dy, x):
    return _run(call.backward(), _like(call.x_shape, dy, x), dy, x)


def _norm_gradient(call, dy, x):
    """As `_norm_backward`, in steps that have gradients of their own.

    dy * y**(1 - p) of every window, summed where windows meet, times x * abs(x)**(p - 2).
    """
    options = dict(call.options)
    p = options.pop("p", 2)
    if not call.op.startswith("global"):
        options["count_include_pad"] = False
    rank = rank_of(call.op)
    plane = np.ones(call.x_shape[-rank:], x.dtype)
    count = np.asarray(getattr(engine, call.op)(plane, **dict(call.options) | {"p": 1}))
    y = _norm(call, x)
    zero = y == 0  # no direction is steepest there: engine takes 0
    share = jnp.where(zero, 0, dy * count * jnp.where(zero, 1, y) ** (1 - p))
    mean = call._replace(op=call.op.replace("lp", "avg"), options=tuple(options.items()))
    return _mean_backward(mean, share) * jnp.sign(x) * jnp.abs(x) ** (p - 1)


_norm.defvjp(lambda call, x: (_norm(call, x), x),
             lambda call, x, dy: (_norm_backward(call, dy, x),))
_norm_backward.defvjp(
    lambda call, dy, x: (_norm_backward(call, dy, x), (dy, x)),
    lambda call, saved, ddx: jax.vjp(partial(_norm_gradient, call), *saved)[1](ddx))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unpool(call, x, indices):
    y = _result(call, x, lambda x: call.function(x, x.astype(np.int64)))
    return _run(call.function, y, x, indices)


_unpool.defvjp(lambda call, x, indices: (_unpool(call, x, indices), indices),
               lambda call, indices, dy: (_gather(call, dy, indices), None))


def _pool(function):
    def apply(op, x, *indices, **options):
        x = jnp.asarray(x)
        return function(_call(op, options, x), x, *indices)

    return apply


def _pool_extreme(op, x, return_indices=False, **options):
    result = _pool(_extreme)(op, x, **options)
    return result if return_indices else result[0]


def _pool_inverse(op, x, indices, **options):
    return _pool(_unpool)(op, x, jnp.asarray(indices), **options)


max_pool1d, max_pool2d, max_pool3d = family("max_pool{}d", _pool_extreme, __name__)
global_max_pool1d, global_max_pool2d, global_max_pool3d = family(
    "global_max_pool{}d", _pool_extreme, __name__)
min_pool1d, min_pool2d, min_pool3d = family("min_pool{}d", _pool_extreme, __name__)
global_min_pool1d, global_min_pool2d, global_min_pool3d = family(
    "global_min_pool{}d", _pool_extreme, __name__)
avg_pool1d, avg_pool2d, avg_pool3d = family("avg_pool{}d", _pool(_mean), __name__)
global_avg_pool1d, global_avg_pool2d, global_avg_pool3d = family(
    "global_avg_pool{}d", _pool(_mean), __name__)
lp_pool1d, lp_pool2d, lp_pool3d = family("lp_pool{}d", _pool(_norm), __name__)
global_lp_pool1d, global_lp_pool2d, global_lp_pool3d = family(
    "global_lp_pool{}d", _pool(_norm), __name__)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = family(
    "adaptive_max_pool{}d", _pool_extreme, __name__)
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = family(
    "adaptive_avg_pool{}d", _pool(_mean), __name__)
max_unpool1d, max_unpool2d, max_unpool3d = family("max_unpool{}d", _pool_inverse, __name__)
