"""What every layer is: parameters, a forward pass, and a backward pass below it.

To write a layer, derive from `Layer`, keep each constructor argument as an attribute of the same
name (that is how a model is saved), return new parameters from `create`, and write `forward` and
`backward`.  `engine.nn.dense` is the shortest example with parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.nn import _check, parallel


@dataclass(frozen=True)
class Context:
    """What all layers of one model share."""

    dtype: np.dtype
    layout: str  # "NCHW" or "NHWC": the order of the axes of images
    rng: np.random.Generator

    def layout_of(self, rank: int) -> str:
        """The layout of images with that many spatial axes, e.g. "NCL" for 1 where 2 is "NCHW"."""
        names = {1: "L", 2: "HW"}[rank]
        return f"NC{names}" if self.layout == "NCHW" else f"N{names}C"

    def channels(self, who: str, shape: tuple[int, ...], rank: int) -> int:
        """How many channels a sample of that shape has; checks its number of axes."""
        _check.axes(who, shape, rank + 1, ("lines", "images")[rank - 1] + " with channels")
        return shape[0 if self.layout == "NCHW" else rank]


class Layer:
    """One step of a network: turns x into y, and later dy into dx.

    Attributes
    ----------
    params, grads : dict of str to ndarray
        The parameters by name, and the gradients the last `backward` left, of the same shapes.
    buffers : dict of str to ndarray
        What a layer learns without a gradient, such as running means; saved with the parameters.
        `create` sets it, and a forward pass changes its arrays in place.
    input_shape, output_shape : tuple of int
        Shapes of one sample, without the batch axis; known once the layer is built.
    group : engine.nn.parallel.Alone
        The processes that share each batch: several in a parallel `fit`, else this one alone.
    """

    kind: str  # how summaries call such a layer
    kinds: dict[str, type[Layer]] = {}  # every layer class by name, for loading models
    children: tuple[Layer, ...] = ()  # the layers inside a layer made of others
    context: Context | None = None
    group = parallel.ALONE
    _saved = None

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.kind = cls.__name__
        Layer.kinds[cls.__name__] = cls

    def __init__(self, name: str | None = None):
        self.name = name
        self.params: dict[str, np.ndarray] = {}
        self.grads: dict[str, np.ndarray] = {}
        self.buffers: dict[str, np.ndarray] = {}

    def build(self, input_shape: tuple[int, ...], context: Context) -> tuple[int, ...]:
        """Create the parameters for inputs of that shape; returns the shape of the outputs.

        The output shape is read off an empty batch that is sent through `forward`, so there is no
        second set of shape rules beside those of `engine`.
        """
        self.context, self.input_shape = context, tuple(input_shape)
        self.params = {name: np.asarray(value, context.dtype, order="C")
                       for name, value in self.create(self.input_shape).items()}
        self.grads = {name: np.zeros(value.shape, value.dtype)  # zeros_like would touch the memory
                      for name, value in self.params.items()}
        self.output_shape = self.forward(np.zeros((0, *self.input_shape), context.dtype)).shape[1:]
        return self.output_shape

    def create(self, input_shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """New parameters for inputs of that shape, drawn from ``self.context.rng``."""
        return {}

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The output for a batch; with `training`, also `keep` what `backward` will need."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: np.ndarray, need_dx: bool = True) -> np.ndarray | None:
        """The gradient of the loss in x from the one in y; sets `grads` on the way."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def train_forward(self, x: np.ndarray, after: Layer | None) -> tuple[np.ndarray, bool]:
        """``forward(x, training=True)``, and whether that of the layer `after` it is done too.

        What saves a pass over memory together is done together; `backward` is called of both.
        """
        return self.forward(x, training=True), False

    def extra_loss(self, loss, target) -> float:
        """What the layer adds to the loss after a training forward pass: see `Auxiliary`."""
        return 0.0

    def keep(self, *values) -> None:
        """Remember values of a training forward pass for the backward pass."""
        self._saved = values

    def kept(self) -> tuple:
        """The values remembered by `keep`, which are let go to free their memory."""
        if self._saved is None:
            raise RuntimeError(f"{self.title}: backward needs a forward(x, training=True) before")
        values, self._saved = self._saved, None
        return values

    def set_grads(self, **grads: np.ndarray) -> None:
        for name, value in grads.items():
            self.grads[name][...] = value

    def config(self) -> dict:
        """The constructor's arguments, by which the layer can be made again."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    @property
    def title(self) -> str:
        """How messages call this layer."""
        return f"{self.name} ({self.kind})" if self.name else self.kind

    def walk(self) -> Iterator[Layer]:
        """This layer and all layers inside it, in the order they run."""
        yield self
        for child in self.children:
            yield from child.walk()

    def prefix(self, outer: str = "") -> str:
        """What the full names of the parameters in this layer begin with."""
        return f"{outer}{self.name}." if self.name else outer

    def parameters(self, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
        """Every parameter of this layer and those inside it, with its full name."""
        for name, value in self.params.items():
            yield prefix + name, value
        for child in self.children:
            yield from child.parameters(child.prefix(prefix))

    def arrays(self, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
        """As `parameters`, with the buffers of each layer after its parameters."""
        for name, value in (self.params | self.buffers).items():
            yield prefix + name, value
        for child in self.children:
            yield from child.arrays(child.prefix(prefix))
