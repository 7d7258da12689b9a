"""Who takes part: one module per library, all with the same four functions.

    version()                       name and version of the library, for the report
    start(threads)                  once per worker process
    prepare(case, variant, inputs)  a call without arguments, all set-up done; ValueError if the
                                    library cannot do the case
    arrays(result)                  what the call returned, as a list of NCHW-shaped NumPy arrays
    ran()                           which kernel ran last, or ""

A variant is a memory order, "nchw" or "nhwc", or something only that peer knows (engine: "plan").
"""

from __future__ import annotations

from dataclasses import dataclass, field

# PyTorch as it is best: without these, glibc hands big outputs back to the system after every call
# and each page of the next one faults.
TUNED_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "8589934592",
                "MALLOC_TOP_PAD_": "268435456"}


@dataclass(frozen=True)
class Peer:
    module: str  # in this package
    short: str  # for column heads
    orders: tuple[str, ...] = ("nchw", "nhwc")
    environment: dict[str, str] = field(default_factory=dict)


PEERS = {
    "engine": Peer("ours", "engine"),
    "c": Peer("ours", "c", environment={"ENGINE_BACKEND": "c"}),
    "numba": Peer("ours", "numba", environment={"ENGINE_BACKEND": "numba"}),
    "numpy": Peer("ours", "numpy", environment={"ENGINE_BACKEND": "numpy"}),
    "torch": Peer("pytorch", "torch", environment=TUNED_MALLOC),
    "torch-as-installed": Peer("pytorch", "inst."),
    "onnxruntime": Peer("onnx_runtime", "ort", ("nchw",), TUNED_MALLOC),
}
NETWORK_PEERS = {  # those that `bench models` compares
    "engine": Peer("networks_ours", "engine", ("nchw",)),
    "torch": Peer("networks_torch", "torch", environment=TUNED_MALLOC),
    "onnxruntime": Peer("networks_onnx", "ort", ("nchw",), TUNED_MALLOC),
}
