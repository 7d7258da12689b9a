"""What a user's type checker sees of engine: mypy reads this strictly, nothing runs it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type

import engine
from engine import nn

x = np.ones((2, 3, 8, 8), np.float32)
weight = np.ones((4, 3, 3, 3), np.float32)

y = engine.conv2d(x, weight, [0.0] * 4, stride=(2, 1), padding=((1, 0), (0, 1)), activation="relu")
assert_type(y, NDArray[Any])
engine.conv2d(x, weight, padding="same", layout="NCHW", out=y)

gradients = engine.conv2d_backward(y, x, weight, wrt=("x", "weight"))
dx, dweight, dbias = gradients
if dx is not None:
    print(dx.dtype)
dweight_alone: NDArray[np.float32] = engine.conv2d_backward_weight(y, x, weight.shape)
transposed = engine.conv_transpose3d(x[:, :, None], weight[:, :, None], output_padding=0)
print(transposed.ndim)

pooled = engine.max_pool2d(x, 2, ceil_mode=True)
print(pooled.shape)
pooled, indices = engine.max_pool2d(x, (2, 2), return_indices=True)
engine.max_pool2d_backward(pooled, x.shape, 2, indices=indices)
engine.global_avg_pool2d(x, backend="numpy").mean()

plan = engine.plan_conv2d(x.shape, weight, dtype=np.float32)
plan(x, out=plan(x)).sum()
with engine.num_threads(1), engine.use_backend("c"):
    print(engine.explain(engine.conv2d, x, weight)[0].chosen, engine.get_num_threads())
print(engine.__version__.split("."))

model = nn.Sequential([
    nn.Conv2D(8, (3, 3), padding="same", activation="relu"), nn.BatchNorm(), nn.MaxPool2D(2),
    nn.Residual([nn.Conv2D(8, 3, padding=1), nn.ReLU()], activation="relu"),
    nn.Concatenate([nn.Conv2D(4, 1), [nn.Conv2D(2, 1), nn.Conv2D(6, 3, padding=1)]]),
    nn.Flatten(), nn.Dense(3), nn.Softmax()], input_shape=(3, 8, 8), seed=0)
history = model.fit(x, [0, 1], epochs=2, optimizer=nn.SGD(nn.Cosine(0.1), momentum=0.9),
                    augment=[nn.RandomFlip(), nn.RandomShift(1)], validation_data=(x, [0, 1]),
                    callbacks=[nn.EarlyStopping(patience=2), nn.Checkpoint("model.safetensors")])
print(history["loss"][-1], model.evaluate(x, [0, 1])["accuracy"])
assert_type(model.predict(x), NDArray[Any])
assert_type(nn.models.resnet18(classes=5, input_size=64, layout="NHWC"), nn.Sequential)
assert_type(nn.compile(model, 2)(x), NDArray[Any])
nn.load("model.safetensors").save("again.safetensors")

# wrong on purpose: mypy must say so, or the comment is what it complains of
engine.conv2d(x, weight, strides=2)  # type: ignore[call-arg]
engine.conv2d(x, weight, activation="gelu")  # type: ignore[arg-type]
engine.conv2d(x, weight, layout="NCL")  # type: ignore[arg-type]
engine.conv1d(x, weight, layout="NCHW")  # type: ignore[arg-type]
engine.max_pool2d(x)  # type: ignore[call-arg]
engine.use_backend("gpu")  # type: ignore[arg-type]
nn.Conv2D(8, 3, activation="gelu")  # type: ignore[arg-type]
nn.MaxPool2D()  # type: ignore[call-arg]
nn.Adam(lr="small")  # type: ignore[arg-type]
model.fit(x, batches=2)  # type: ignore[call-arg]
