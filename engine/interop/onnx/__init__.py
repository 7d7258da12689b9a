"""ONNX models in engine: run them, train them further, write one's own.

>>> from engine.interop import onnx as engine_onnx
>>> model = engine_onnx.load("mnist.onnx")  # doctest: +SKIP
>>> model.predict(images)  # doctest: +SKIP
>>> model.fit(images, labels, loss=loss)  # doctest: +SKIP
>>> model.save("trained.onnx")  # doctest: +SKIP

`load` gives a model of `engine.nn`, `export` writes one as ONNX.  `Backend` is engine behind ONNX's
own interface for those that run models.
"""

from engine.nn._extras import need

need("onnx", "engine.interop.onnx", extra="onnx")

from engine.interop.onnx.backend import Backend  # noqa: E402
from engine.interop.onnx.export import export  # noqa: E402
from engine.interop.onnx.graph import unsupported  # noqa: E402
from engine.interop.onnx.model import OnnxModel, load  # noqa: E402
from engine.interop.onnx.table import OPERATORS  # noqa: E402

__all__ = ["OPERATORS", "Backend", "OnnxModel", "export", "load", "unsupported"]
