"""Caffe's .caffemodel files: the blobs of all layers, through the library `protobuf`.

Source of the field numbers: BVLC/caffe, src/caffe/proto/caffe.proto.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from engine.nn._extras import need

# message: field: number, type, repeated
MESSAGES = {
    "BlobShape": {"dim": (1, "INT64", True)},
    "BlobProto": {"num": (1, "INT32", False), "channels": (2, "INT32", False),
                  "height": (3, "INT32", False), "width": (4, "INT32", False),
                  "data": (5, "FLOAT", True), "shape": (7, "BlobShape", False)},
    "LayerParameter": {"name": (1, "STRING", False), "blobs": (7, "BlobProto", True)},
    "V1LayerParameter": {"name": (4, "STRING", False), "blobs": (6, "BlobProto", True)},
    "NetParameter": {"layers": (2, "V1LayerParameter", True),
                     "layer": (100, "LayerParameter", True)},
}


def read(path) -> dict[str, np.ndarray]:
    """Blob k of a layer as ``layer/weight``, ``layer/bias``, ``layer/2`` ..."""
    message = _net_parameter()()
    from google.protobuf.message import DecodeError
    try:
        message.ParseFromString(Path(path).read_bytes())
    except DecodeError as error:
        raise ValueError(f"load_weights: `{path}` is not a Caffe model ({error})") from None
    arrays = {}
    for layer in [*message.layer, *message.layers]:
        for k, blob in enumerate(layer.blobs):
            shape = (tuple(blob.shape.dim) if blob.HasField("shape")
                     else (blob.num, blob.channels, blob.height, blob.width))
            name = ("weight", "bias")[k] if k < 2 else str(k)
            arrays[f"{layer.name}/{name}"] = np.array(blob.data, np.float32).reshape(shape)
    return arrays


@cache
def _net_parameter():
    need("google.protobuf", "reading Caffe models", extra="onnx")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="engine_caffe.proto", package="engine_caffe")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            entry = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in MESSAGES:
                entry.type, entry.type_name = field_types.TYPE_MESSAGE, f".engine_caffe.{kind}"
            else:
                entry.type = getattr(field_types, f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("engine_caffe.NetParameter"))
