"""Backpropagation through a small network by hand, every derivative checked twice.

    x 6x6 -> conv 3x3 -> z1 4x4 -> ReLU -> a1 4x4 -> max-pool -> p 2x2 -> flatten -> f 4
          -> dense -> z2 -> sigmoid -> a2 -> binary cross-entropy -> loss

The chain rule is walked from the loss back to the image.  Training needs the six derivatives dz2,
dw2, db2, dz1, dw1 and db1; da2, df, dp, da1 and dx are met on the way.  Each is compared with
finite differences, (loss(v + h) - loss(v - h)) / 2h, and with what the layers of engine.nn compute.
"""

import numpy as np

import engine
from engine import nn

Y = 1.0  # the right answer

STEPS = {  # each value of the network, and how it follows from the one before and the parameters
    "z1": lambda x, v: engine.conv2d(x, v["w1"], v["b1"]),
    "a1": lambda z1, v: np.maximum(z1, 0),
    "p": lambda a1, v: engine.max_pool2d(a1, 2),
    "f": lambda p, v: p.reshape(4),
    "z2": lambda f, v: v["w2"] @ f + v["b2"],
    "a2": lambda z2, v: 1 / (1 + np.exp(-z2)),
    "loss": lambda a2, v: -(Y * np.log(a2) + (1 - Y) * np.log(1 - a2)).item(),
}


def inputs(seed=5):
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((6, 6)), "w1": rng.standard_normal((3, 3)),
            "b1": rng.standard_normal(1), "w2": rng.standard_normal((1, 4)),
            "b2": rng.standard_normal(1)}


def forward(given):
    """All values by name; those that are given already are taken as they are."""
    values, value = dict(given), given["x"]
    for name, step in STEPS.items():
        value = values[name] = given[name] if name in given else step(value, values)
    return values


def backward(v):
    """Every derivative of the loss, last layer first."""
    d = {}
    d["a2"] = -Y / v["a2"] + (1 - Y) / (1 - v["a2"])  # binary cross-entropy
    d["z2"] = d["a2"] * v["a2"] * (1 - v["a2"])       # sigmoid; together that is a2 - Y
    d["w2"] = np.outer(d["z2"], v["f"])               # dense: its input times what comes back
    d["b2"] = d["z2"]
    d["f"] = v["w2"].T @ d["z2"]
    d["p"] = d["f"].reshape(2, 2)                     # flatten: the same numbers
    d["a1"] = np.zeros((4, 4))                        # max-pool: only the winner gets something
    for i, j in np.ndindex(2, 2):
        window = v["a1"][2 * i:2 * i + 2, 2 * j:2 * j + 2]
        row, column = np.unravel_index(window.argmax(), (2, 2))
        d["a1"][2 * i + row, 2 * j + column] = d["p"][i, j]
    d["z1"] = d["a1"] * (v["z1"] > 0)                 # ReLU: nothing where it was closed
    d["w1"] = engine.conv2d(v["x"], d["z1"])          # conv: the image filtered by what comes back
    d["b1"] = d["z1"].sum(keepdims=True)[0]
    d["x"] = engine.conv2d(d["z1"], v["w1"][::-1, ::-1], padding="full")  # the filter turned round
    return d


def finite_differences(v, name, inputs, h=1e-6):
    """The derivative of the loss in one of the values, measured element by element."""
    result = np.zeros_like(v[name])
    for i in np.ndindex(result.shape):
        up, down = v[name].copy(), v[name].copy()
        up[i] += h
        down[i] -= h
        result[i] = (forward(inputs | {name: up})["loss"]
                     - forward(inputs | {name: down})["loss"]) / (2 * h)
    return result


def by_engine(inputs):
    """All derivatives by the layers of engine.nn."""
    conv, dense = nn.Conv2D(1, 3), nn.Dense(1)
    model = nn.Sequential([conv, nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), dense, nn.Sigmoid()],
                          input_shape=(1, 6, 6), dtype="float64", seed=0)
    conv.params["weight"][0, 0], conv.params["bias"][:] = inputs["w1"], inputs["b1"]
    dense.params["weight"][:], dense.params["bias"][:] = inputs["w2"], inputs["b2"]
    a2 = model.forward(inputs["x"][None, None], training=True)
    d = {"a2": nn.BinaryCrossEntropy().gradient(a2, np.array([[Y]]))}
    back = d["a2"]
    for name, layer in zip(["z2", "f", "p", "a1", "z1", "x"], reversed(model.layers), strict=True):
        back = d[name] = layer.backward(back)
    return d | {"w1": conv.grads["weight"], "b1": conv.grads["bias"],
                "w2": dense.grads["weight"], "b2": dense.grads["bias"]}


def main():
    given = inputs()
    values = forward(given)
    print(f"loss {values['loss']:.6f}")
    print("derivative  shape   largest value  off finite differences  off engine.nn")
    layers, errors = by_engine(given), {}
    for name, value in backward(values).items():
        off_measured = np.abs(value - finite_differences(values, name, given)).max()
        off_layers = np.abs(value - layers[name].reshape(value.shape)).max()
        print(f"dL/d{name:<4}    {str(value.shape):<8}{np.abs(value).max():12.6f}"
              f"  {off_measured:22.1e}  {off_layers:13.1e}")
        errors[name] = off_measured, off_layers
    print("all agree" if np.max(list(errors.values())) < 1e-7 else "they disagree")
    return errors


if __name__ == "__main__":
    main()
