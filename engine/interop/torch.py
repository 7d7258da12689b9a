"""PyTorch: convolution and pooling as autograd functions, and `swap` for whole models.

>>> import torch
>>> from engine.interop.torch import conv2d
>>> x, weight = torch.ones(1, 1, 3, 3, requires_grad=True), torch.ones(1, 1, 2, 2)
>>> conv2d(x, weight).sum().backward()
>>> x.grad[0, 0, 1]
tensor([2., 4., 2.])

Tensors on the CPU are handed over as NumPy views of their memory, CUDA tensors as they are.  The
functions have the names and arguments of `engine`'s; images are always channels first, as in
PyTorch, with any strides.

Every gradient is itself one of these functions, so that it has gradients too: a convolution and
its two gradients are the three ways to read the sum over dy * x * weight, and a pooling is a linear
map whose gradient is its adjoint.
"""

from __future__ import annotations

import engine
from engine._axes import rank_of
from engine.interop._operations import family
from engine.nn._extras import need

torch = need("torch", "engine.interop.torch", "torch")
nn, Function = torch.nn, torch.autograd.Function


def _run(op: str, *arguments, **options):
    """``engine.<op>`` on tensors; what is none is passed as it is."""
    result = getattr(engine, op)(*(_array(each) if isinstance(each, torch.Tensor) else each
                                   for each in arguments), **options)
    return tuple(map(_tensor, result)) if isinstance(result, tuple) else _tensor(result)


def _array(tensor):
    tensor = tensor.detach()
    if tensor.is_cuda:
        return tensor
    if tensor.dtype == torch.bfloat16:  # NumPy knows it only by name
        return tensor.view(torch.int16).numpy().view(need("ml_dtypes", "bfloat16").bfloat16)
    return tensor.numpy()


def _tensor(array):
    if isinstance(array, torch.Tensor):
        return array
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(array)


# ---- convolution -------------------------------------------------------------------------------

class _Conv(Function):
    """y of x, weight and bias."""

    @staticmethod
    def forward(ctx, x, weight, bias, op, options):
        ctx.save_for_backward(x, weight)
        ctx.call, ctx.bias_shape = (op, options), None if bias is None else bias.shape
        return _run(op, x, weight, bias, **options)

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        dx = _ConvData.apply(dy, weight, x.shape, *ctx.call) if need_x else None
        dweight = _ConvWeight.apply(dy, x, weight.shape, *ctx.call) if need_weight else None
        dbias = _sum(dy, rank_of(ctx.call[0])).reshape(ctx.bias_shape) if need_bias else None
        return dx, dweight, dbias, None, None


class _ConvData(Function):
    """dx of dy and weight."""

    @staticmethod
    def forward(ctx, dy, weight, x_shape, op, options):
        ctx.save_for_backward(dy, weight)
        ctx.call = (op, options)
        return _run(op + "_backward_data", dy, weight, tuple(x_shape), **options)

    @staticmethod
    def backward(ctx, ddx):
        dy, weight = ctx.saved_tensors
        need_dy, need_weight, *_ = ctx.needs_input_grad
        ddy = _Conv.apply(ddx, weight, None, *ctx.call) if need_dy else None
        dweight = _ConvWeight.apply(dy, ddx, weight.shape, *ctx.call) if need_weight else None
        return ddy, dweight, None, None, None


class _ConvWeight(Function):
    """dweight of dy and x."""

    @staticmethod
    def forward(ctx, dy, x, weight_shape, op, options):
        ctx.save_for_backward(dy, x)
        ctx.call = (op, options)
        return _run(op + "_backward_weight", dy, x, tuple(weight_shape), **options)

    @staticmethod
    def backward(ctx, ddweight):
        dy, x = ctx.saved_tensors
        need_dy, need_x, *_ = ctx.needs_input_grad
        ddy = _Conv.apply(x, ddweight, None, *ctx.call) if need_dy else None
        dx = _ConvData.apply(dy, ddweight, x.shape, *ctx.call) if need_x else None
        return ddy, dx, None, None, None


def _sum(dy, rank):
    """The sum over everything but the channels."""
    channels = dy.ndim - rank - 1
    return dy.sum([axis for axis in range(dy.ndim) if axis != channels])


def _convolve(op, x, weight, bias=None, **options):
    return _Conv.apply(x, weight, bias, op, options)


conv1d, conv2d, conv3d = family("conv{}d", _convolve, __name__)
conv_transpose1d, conv_transpose2d, conv_transpose3d = family("conv_transpose{}d", _convolve,
                                                              __name__)


# ---- pooling -----------------------------------------------------------------------------------

class _Linear(Function):
    """A linear map, whose gradient is its adjoint."""

    @staticmethod
    def forward(ctx, x, forward, adjoint):
        ctx.forward_and_adjoint = forward, adjoint
        return forward(x)

    @staticmethod
    def backward(ctx, dy):
        forward, adjoint = ctx.forward_and_adjoint
        return _Linear.apply(dy, adjoint, forward), None, None


class _Extreme(Function):
    """The largest or smallest elements of x, and where they are."""

    @staticmethod
    def forward(ctx, x, op, options):
        y, indices = _run(op, x, return_indices=True, **options)
        ctx.call, ctx.x_shape = (op, options), tuple(x.shape)
        ctx.save_for_backward(indices)
        ctx.mark_non_differentiable(indices)
        return y, indices

    @staticmethod
    def backward(ctx, dy, _):
        indices, = ctx.saved_tensors
        op, options = ctx.call
        rank = rank_of(op)

        def spread(dy):
            return _run(op + "_backward", dy, ctx.x_shape, indices=_array(indices), **options)

        def gather(ddx):
            return ddx.flatten(-rank).gather(-1, indices.flatten(-rank)).view_as(indices)

        return _Linear.apply(dy, spread, gather), None, None


def _extreme(op, x, return_indices=False, **options):
    if not return_indices and not (x.requires_grad and torch.is_grad_enabled()):
        return _run(op, x, **options)
    result = _Extreme.apply(x, op, options)
    return result if return_indices else result[0]


def _mean(op, x, **options):
    shape = tuple(x.shape)
    return _Linear.apply(x, lambda x: _run(op, x, **options),
                         lambda dy: _run(op + "_backward", dy, shape, **options))


def _unpool(op, x, indices, **options):
    like, indices = x.detach(), indices.detach()
    return _Linear.apply(x, lambda x: _run(op, x, indices, **options),
                         lambda dy: _run(op + "_backward", dy, like, indices, **options))


class _Norm(Function):
    """The p-norm of every window."""

    @staticmethod
    def forward(ctx, x, op, options):
        ctx.save_for_backward(x)
        ctx.call = (op, options)
        return _run(op, x, **options)

    @staticmethod
    def backward(ctx, dy):
        x, = ctx.saved_tensors
        op, options = ctx.call
        if torch.is_grad_enabled():  # somebody may ask for the gradient of this gradient
            return _norm_backward(dy, x, op, options), None, None
        return _run(op + "_backward", dy, x, **options), None, None


def _norm_backward(dy, x, op, options):
    """dy * y**(1 - p) of every window, summed where windows meet, times x * abs(x)**(p - 2)."""
    p = options.get("p", 2)
    y = _Norm.apply(x, op, options)
    means = {name: value for name, value in options.items() if name != "p"}
    if not op.startswith("global"):
        means["count_include_pad"] = False
    count = _run(op, torch.ones_like(x), **options | {"p": 1})  # elements of every window
    zero = y == 0  # no direction is steepest there: engine takes 0
    share = torch.where(zero, 0, dy * count * torch.where(zero, 1, y) ** (1 - p))
    shape = tuple(x.shape)
    spread = _Linear.apply(
        share, lambda dy: _run(op.replace("lp", "avg") + "_backward", dy, shape, **means),
        lambda ddx: _run(op.replace("lp", "avg"), ddx, **means))
    return spread * torch.sign(x) * torch.abs(x) ** (p - 1)


def _norm(op, x, **options):
    return _Norm.apply(x, op, options)


max_pool1d, max_pool2d, max_pool3d = family("max_pool{}d", _extreme, __name__)
min_pool1d, min_pool2d, min_pool3d = family("min_pool{}d", _extreme, __name__)
avg_pool1d, avg_pool2d, avg_pool3d = family("avg_pool{}d", _mean, __name__)
lp_pool1d, lp_pool2d, lp_pool3d = family("lp_pool{}d", _norm, __name__)
global_max_pool1d, global_max_pool2d, global_max_pool3d = family("global_max_pool{}d", _extreme,
                                                                 __name__)
global_min_pool1d, global_min_pool2d, global_min_pool3d = family("global_min_pool{}d", _extreme,
                                                                 __name__)
global_avg_pool1d, global_avg_pool2d, global_avg_pool3d = family("global_avg_pool{}d", _mean,
                                                                 __name__)
global_lp_pool1d, global_lp_pool2d, global_lp_pool3d = family("global_lp_pool{}d", _norm, __name__)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = family(
    "adaptive_max_pool{}d", _extreme, __name__)
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = family(
    "adaptive_avg_pool{}d", _mean, __name__)
max_unpool1d, max_unpool2d, max_unpool3d = family("max_unpool{}d", _unpool, __name__)


# ---- whole models ------------------------------------------------------------------------------

PADDING_MODES = {"zeros": "constant", "circular": "wrap", "reflect": "reflect",
                 "replicate": "edge"}


def swap(model):
    """Let engine do the convolutions and poolings of a model; returns the model, changed in place.

    Parameters, buffers, hooks, `state_dict` and optimizers stay what they are: each layer of
    torch.nn only gets another ``forward``.  What torch computes and engine does not stays torch's:
    AvgPool with `divisor_override`, LPPool with an odd norm or `ceil_mode`, layers of one's own.

    Parameters
    ----------
    model : torch.nn.Module
        Any model, on the CPU.

    Examples
    --------
    >>> model = swap(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.MaxPool2d(2)))
    >>> model
    Sequential(
      (0): EngineConv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
      (1): EngineMaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    )
    >>> unswap(model)[0]
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """
    for layer in model.modules():
        if type(layer) in _ENGINES and not _only_torch(layer):
            layer.__class__ = _ENGINES[type(layer)]
    return model


def unswap(model):
    """Undo `swap`; returns the model."""
    for layer in model.modules():
        if type(layer) in _ENGINES.values():
            layer.__class__ = type(layer).__base__
    return model


def _only_torch(layer) -> bool:
    if getattr(layer, "divisor_override", None) is not None:
        return True
    return "norm_type" in vars(layer) and (layer.norm_type % 2 != 0 or layer.ceil_mode)


def _conv_layer(op, layer, x):
    return op(x, layer.weight, layer.bias, stride=layer.stride, padding=layer.padding,
              dilation=layer.dilation, groups=layer.groups,
              padding_mode=PADDING_MODES[layer.padding_mode])


def _conv_transpose_layer(op, layer, x, output_size=None):
    output_padding = layer._output_padding(x, output_size, list(layer.stride), list(layer.padding),
                                           list(layer.kernel_size), len(layer.kernel_size),
                                           list(layer.dilation))
    return op(x, layer.weight, layer.bias, stride=layer.stride, padding=layer.padding,
              output_padding=tuple(output_padding), dilation=layer.dilation, groups=layer.groups)


def _max_pool_layer(op, layer, x):
    return op(x, layer.kernel_size, stride=layer.stride, padding=layer.padding,
              dilation=layer.dilation, ceil_mode=layer.ceil_mode,
              return_indices=layer.return_indices)


def _avg_pool_layer(op, layer, x):
    return op(x, layer.kernel_size, stride=layer.stride, padding=layer.padding,
              ceil_mode=layer.ceil_mode, count_include_pad=layer.count_include_pad)


def _lp_pool_layer(op, layer, x):
    return op(x, layer.kernel_size, p=layer.norm_type, stride=layer.stride)


def _adaptive_max_pool_layer(op, layer, x):
    return op(x, layer.output_size, return_indices=layer.return_indices)


def _adaptive_avg_pool_layer(op, layer, x):
    return op(x, layer.output_size)


def _max_unpool_layer(op, layer, x, indices, output_size=None):
    rank = rank_of(op.__name__)
    return op(x, indices, layer.kernel_size, stride=layer.stride, padding=layer.padding,
              output_size=None if output_size is None else tuple(output_size)[-rank:])


_LAYERS = {  # torch's name -> engine's, and how to call it
    "Conv": ("conv", _conv_layer), "ConvTranspose": ("conv_transpose", _conv_transpose_layer),
    "MaxPool": ("max_pool", _max_pool_layer), "AvgPool": ("avg_pool", _avg_pool_layer),
    "LPPool": ("lp_pool", _lp_pool_layer),
    "AdaptiveMaxPool": ("adaptive_max_pool", _adaptive_max_pool_layer),
    "AdaptiveAvgPool": ("adaptive_avg_pool", _adaptive_avg_pool_layer),
    "MaxUnpool": ("max_unpool", _max_unpool_layer),
}


def _engine_layer(base, op, call):
    """A class that differs from torch's in `forward` alone, so that layers can change places."""
    name = "Engine" + base.__name__
    globals()[name] = type(name, (base,), {  # global, or it could not be pickled
        "__module__": __name__, "forward": lambda self, *xs, **kw: call(op, self, *xs, **kw)})
    return globals()[name]


_ENGINES = {}
for _kind, (_name, _call) in _LAYERS.items():
    for _rank in (1, 2, 3):
        _base = getattr(nn, f"{_kind}{_rank}d")
        _ENGINES[_base] = _engine_layer(_base, globals()[f"{_name}{_rank}d"], _call)
