"""ONNX's operators, each a function; importing this package fills the table."""

from engine.interop.onnx.operators import (  # noqa: F401
    activations,
    arithmetic,
    arrays,
    constants,
    control,
    convolution,
    detection,
    logic,
    normalization,
    pooling,
    products,
    quantization,
    reductions,
    resize,
    selection,
)
