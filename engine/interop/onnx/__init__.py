"""ONNX models in engine: run them, train them further, write one's own.

>>> from engine.interop import onnx as engine_onnx
>>> engine_onnx.Backend.supports_device("CPU")
True
"""

from engine.nn._extras import need

need("onnx", "engine.interop.onnx", extra="onnx")

from engine.interop.onnx.backend import Backend  # noqa: E402
from engine.interop.onnx.graph import unsupported  # noqa: E402
from engine.interop.onnx.table import OPERATORS  # noqa: E402

__all__ = ["OPERATORS", "Backend", "unsupported"]
