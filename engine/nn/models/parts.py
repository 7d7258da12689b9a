"""What several networks are made of."""

from __future__ import annotations

from engine.nn.activations import ReLU, ReLU6
from engine.nn.conv import Conv2D
from engine.nn.norm import BatchNorm
from engine.nn.sequential import Sequential


def network(name: str, layers, input_size: int, channels: int = 3, **options) -> Sequential:
    """A model for square images of the layers that are not None.

    `options` are layout, dtype and seed.
    """
    shape = (channels, input_size, input_size)
    if options.get("layout") == "NHWC":
        shape = (*shape[1:], channels)
    return Sequential([layer for layer in layers if layer is not None], input_shape=shape,
                      name=name, **options)


def group(name: str, *layers) -> Sequential:
    """Layers whose parameters are called ``name.layer.parameter``."""
    return Sequential(layers, name=name)


def numbered(name: str, layers) -> Sequential:
    """Layers called by their place, as in PyTorch: "0", "1" ...  Gaps are marked by None."""
    kept = []
    for place, layer in enumerate(layers):
        if layer is not None:
            layer.name = str(place)
            kept.append(layer)
    return Sequential(kept, name=name)


def conv_bn(name: str, channels: int, kernel_size, *, epsilon: float = 1e-5, relu: bool = True,
            names: tuple[str, str] = ("conv", "bn"), relu6: bool = False, **geometry) -> Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    layers = [Conv2D(channels, kernel_size, bias=False, init="he", name=names[0], **geometry),
              BatchNorm(epsilon=epsilon, name=names[1])]
    if relu:
        layers.append(ReLU6() if relu6 else ReLU())
    return group(name, *layers)
