"""The layers, losses and optimizers of engine.nn: gradients, shapes, names and messages."""

import numpy as np
import pytest

import engine
from engine import nn

IMAGE, LINE, ROW = (2, 6, 5), (2, 9), (7,)  # one sample: (C, H, W), (C, L) or a row of features

LAYERS = {
    "conv": (lambda: nn.Conv2D(3, 3), IMAGE),
    "conv geometry": (lambda: nn.Conv2D(4, (3, 2), stride=2, padding=((1, 0), (2, 1)),
                                        dilation=(1, 2), groups=2, bias=False), IMAGE),
    "conv relu": (lambda: nn.Conv2D(3, 3, padding="same", activation="relu"), IMAGE),
    "conv tanh": (lambda: nn.Conv2D(3, 3, activation="tanh"), IMAGE),
    "conv sigmoid": (lambda: nn.Conv2D(3, 3, activation="sigmoid"), IMAGE),
    "conv reflect": (lambda: nn.Conv2D(2, 3, padding=1, padding_mode="reflect"), IMAGE),
    "conv relu6": (lambda: nn.Conv2D(3, 3, activation="relu6"), IMAGE),
    "conv 1d": (lambda: nn.Conv1D(4, 3, stride=2, padding=(2,), groups=2, activation="tanh"), LINE),
    "depthwise": (lambda: nn.DepthwiseConv2D(3, multiplier=2, padding=1, activation="relu6"),
                  IMAGE),
    "separable": (lambda: nn.SeparableConv2D(3, (3, 2), stride=2, multiplier=2, activation="relu"),
                  IMAGE),
    "transposed": (lambda: nn.ConvTranspose2D(3, 3, stride=2, padding=1, output_padding=1,
                                              activation="sigmoid"), IMAGE),
    "transposed groups": (lambda: nn.ConvTranspose2D(4, (2, 3), groups=2, bias=False,
                                                     dilation=(1, 2)), IMAGE),
    "transposed 1d": (lambda: nn.ConvTranspose1D(3, 4, stride=3, padding=1), LINE),
    "max": (lambda: nn.MaxPool2D(2), IMAGE),
    "max overlapping": (lambda: nn.MaxPool2D(3, stride=1, padding=1, ceil_mode=True), IMAGE),
    "min": (lambda: nn.MinPool2D(2), IMAGE),
    "avg": (lambda: nn.AvgPool2D(3, stride=2, padding=1), IMAGE),
    "avg real": (lambda: nn.AvgPool2D(3, stride=2, padding=1, count_include_pad=False), IMAGE),
    "lp": (lambda: nn.LpPool2D(2, p=3), IMAGE),
    "global max": (lambda: nn.GlobalMaxPool2D(), IMAGE),
    "global min": (lambda: nn.GlobalMinPool2D(), IMAGE),
    "global avg": (lambda: nn.GlobalAvgPool2D(), IMAGE),
    "global lp": (lambda: nn.GlobalLpPool2D(p=3), IMAGE),
    "max 1d": (lambda: nn.MaxPool1D(3, stride=2, padding=1), LINE),
    "min 1d": (lambda: nn.MinPool1D(2, dilation=2), LINE),
    "avg 1d": (lambda: nn.AvgPool1D(3, padding=1, count_include_pad=False), LINE),
    "lp 1d": (lambda: nn.LpPool1D(2, p=3), LINE),
    "global max 1d": (lambda: nn.GlobalMaxPool1D(), LINE),
    "global min 1d": (lambda: nn.GlobalMinPool1D(), LINE),
    "global avg 1d": (lambda: nn.GlobalAvgPool1D(), LINE),
    "global lp 1d": (lambda: nn.GlobalLpPool1D(p=3), LINE),
    "flatten": (lambda: nn.Flatten(), IMAGE),
    "dense": (lambda: nn.Dense(4), ROW),
    "dense relu": (lambda: nn.Dense(4, activation="relu", bias=False), ROW),
    "dense tanh": (lambda: nn.Dense(4, activation="tanh"), ROW),
    "dense relu6": (lambda: nn.Dense(4, activation="relu6"), ROW),
    "relu": (lambda: nn.ReLU(), IMAGE),
    "relu6": (lambda: nn.ReLU6(), IMAGE),
    "leaky relu": (lambda: nn.LeakyReLU(0.2), IMAGE),
    "gelu": (lambda: nn.GELU(), IMAGE),
    "gelu tanh": (lambda: nn.GELU("tanh"), IMAGE),
    "tanh": (lambda: nn.Tanh(), IMAGE),
    "sigmoid": (lambda: nn.Sigmoid(), IMAGE),
    "softmax": (lambda: nn.Softmax(), ROW),
    "dropout": (lambda: nn.Dropout(0.4), IMAGE),
    "batch norm": (lambda: nn.BatchNorm(), IMAGE),
    "batch norm of lines": (lambda: nn.BatchNorm(epsilon=0.1, scale=False), LINE),
    "batch norm of rows": (lambda: nn.BatchNorm(shift=False), (3,)),
    "local response": (lambda: nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=0.7), (5, 3, 2)),
    "local response, even": (lambda: nn.LocalResponseNorm(2, alpha=0.5), (3, 4)),
    "identity": (lambda: nn.Identity(), IMAGE),
    "residual": (lambda: nn.Residual([nn.Conv2D(2, 3, padding=1), nn.Tanh()], activation="relu"),
                 IMAGE),
    "residual with shortcut": (lambda: nn.Residual(nn.Conv2D(3, 3, stride=2, padding=1),
                                                   [nn.Conv2D(3, 1, stride=2, bias=False)]), IMAGE),
    "concatenate": (lambda: nn.Concatenate([nn.Conv2D(2, 1), [], [nn.Tanh(), nn.Conv2D(1, 1)]]),
                    IMAGE),
    "concatenate rows": (lambda: nn.Concatenate([nn.Dense(2), nn.Dense(3)]), ROW),
    "sequential": (lambda: nn.Sequential([nn.Conv2D(3, 3), nn.Sequential([nn.Tanh(), nn.Flatten()]),
                                          nn.Dense(4)]), IMAGE),
}


def slopes(function, array, h=1e-6):
    """Finite differences of a number-valued function of what stands in `array`."""
    result = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        old = array[i]
        array[i] = old + h
        up = function()
        array[i] = old - h
        result[i] = (up - function()) / (2 * h)
        array[i] = old
    return result


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_the_slopes(name, layout):
    make, shape = LAYERS[name]
    if layout == "NHWC" and len(shape) > 1:
        shape = (*shape[1:], shape[0])
    model = nn.Sequential([make()], input_shape=shape, layout=layout, dtype="float64", seed=1)
    rng = np.random.default_rng(2)
    model.weights += 0.1 * rng.standard_normal(model.weights.size)  # biases too
    x = 3 * rng.standard_normal((2, *shape))  # beyond the 6 of ReLU6 too
    dy = rng.standard_normal((2, *model.output_shape))
    if name == "dropout":  # the same mask at every evaluation
        model.layers[0].rng = FrozenRandom(x.shape)

    def value():
        return float((model.forward(x, training=True) * dy).sum())

    value()
    dx = model.backward(dy)
    gradients = model.gradients.copy()  # those of this pass
    assert dx.shape == x.shape
    np.testing.assert_allclose(dx, slopes(value, x), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradients, slopes(value, model.weights), rtol=1e-6, atol=1e-7)


class FrozenRandom:
    def __init__(self, shape):
        self.values = np.random.default_rng(0).random(shape)

    def random(self, shape, dtype):
        return self.values


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("loss, columns, target", [
    (nn.BinaryCrossEntropy, 1, [1, 0, 0, 1]),
    (nn.BinaryCrossEntropy, 3, np.eye(4, 3)),
    (nn.CategoricalCrossEntropy, 3, [2, 0, 1, 1]),
    (nn.CategoricalCrossEntropy, 3, [[0, 0, 1], [0.5, 0.25, 0.25], [0, 1, 0], [1, 0, 0]]),
])
def test_loss_gradients_are_the_slopes(loss, columns, target, from_logits):
    rng = np.random.default_rng(3)
    y = rng.standard_normal((4, columns)) if from_logits else rng.uniform(0.1, 0.9, (4, columns))
    loss = loss(from_logits=from_logits)
    target = loss.targets("test", target, (columns,), y.dtype)
    expected = slopes(lambda: loss.value(y, target), y)
    np.testing.assert_allclose(loss.gradient(y, target), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("loss, last, columns, target", [
    (nn.BinaryCrossEntropy, nn.Sigmoid, 1, [1, 0, 0, 1]),
    (nn.CategoricalCrossEntropy, nn.Softmax, 3, [2, 0, 1, 1]),
])
def test_a_loss_on_logits_equals_the_loss_behind_the_activation(loss, last, columns, target):
    z = np.random.default_rng(4).standard_normal((4, columns))
    target = loss().targets("test", target, (columns,), z.dtype)
    layer = last()
    p = layer.forward(z, training=True)
    whole, fused = loss(), loss(from_logits=True)
    assert fused.value(z, target) == pytest.approx(whole.value(p, target), rel=1e-12)
    np.testing.assert_allclose(fused.gradient(z, target),
                               layer.backward(whole.gradient(p, target)), rtol=1e-9, atol=1e-15)
    assert fused.correct(z, target) == whole.correct(p, target)


def test_losses_on_extreme_logits_are_finite():
    z = np.array([[500.0, -500.0], [-500.0, 500.0]], np.float32)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        categorical = nn.CategoricalCrossEntropy(from_logits=True)
        assert categorical.value(z, np.array([0, 0])) == 500.0
        np.testing.assert_array_equal(categorical.gradient(z, np.array([0, 0])),
                                      [[0, 0], [-0.5, 0.5]])
        binary = nn.BinaryCrossEntropy(from_logits=True)
        assert binary.value(z, np.float32([[1, 1], [0, 1]])) == 125.0
        np.testing.assert_array_equal(binary.gradient(z, np.float32([[1, 1], [0, 1]])),
                                      [[0, -0.25], [0, 0]])


def test_dropout_keeps_the_mean_and_is_idle_outside_training():
    layer = nn.Dropout(0.25)
    nn.Sequential([layer], input_shape=(1000,), seed=0)
    x = np.ones((50, 1000), np.float32)
    y = layer.forward(x, training=True)
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert y.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(layer.backward(x), y)
    assert layer.forward(x) is x


def test_lenet5_has_the_papers_parameters(capsys):
    model = nn.models.lenet5(seed=0)
    assert model.num_params == model.weights.size == 61_706
    model.summary()
    text = capsys.readouterr().out
    table = [line.split() for line in text.splitlines()]
    assert [(line[0], line[-1]) for line in table if line[0] in "C1 C3 C5 F6 output".split()] == [
        ("C1", "156"), ("C3", "2,416"), ("C5", "48,120"), ("F6", "10,164"), ("output", "850")]
    assert "(N, 16, 10, 10)" in text and "61,706 parameters" in text
    assert [layer.output_shape for layer in model.layers][:5] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (400,)]


def test_both_layouts_compute_the_same():
    nchw, nhwc = (nn.models.lenet5(layout=layout, seed=0) for layout in ("NCHW", "NHWC"))
    dense = nhwc.layers[5].params["weight"]  # reads (H, W, C) where the other reads (C, H, W)
    dense[...] = dense.reshape(120, 16, 5, 5).transpose(0, 2, 3, 1).reshape(120, 400)
    x = np.random.default_rng(6).random((3, 1, 28, 28), np.float32)
    np.testing.assert_allclose(nhwc.predict(x.transpose(0, 2, 3, 1)), nchw.predict(x),
                               rtol=1e-4, atol=1e-6)


def test_one_sample_is_predicted_as_in_a_batch():
    model = nn.models.lenet5(seed=0)
    x = np.random.default_rng(7).random((20, 1, 28, 28), np.float32)
    together = model.predict(x)
    np.testing.assert_array_equal(model.predict(x, batch_size=7), together)
    np.testing.assert_array_equal(model.predict(x[3:4]), together[3:4])
    assert model.predict(x[:0]).shape == (0, 10)


def test_the_weights_are_one_vector():
    model = nn.Sequential([nn.Dense(2, name="a"), nn.Sequential([nn.Dense(3, name="b")], name="s")],
                          input_shape=(4,), seed=0)
    params = dict(model.parameters())
    assert list(params) == ["a.weight", "a.bias", "s.b.weight", "s.b.bias"]
    model.weights[:] = np.arange(model.weights.size)
    np.testing.assert_array_equal(params["s.b.weight"], [[10, 11], [12, 13], [14, 15]])
    assert params["a.weight"].dtype == model.weights.dtype == np.float32


def test_backward_stops_at_the_first_parameters(monkeypatch):
    asked = []
    original = engine.conv2d_backward

    def spy(*args, wrt, **kwargs):
        asked.append(tuple(wrt))
        return original(*args, wrt=wrt, **kwargs)

    monkeypatch.setattr(engine, "conv2d_backward", spy)
    model = nn.Sequential([nn.Dropout(0.1), nn.Conv2D(2, 3), nn.Conv2D(2, 3)],
                          input_shape=(1, 7, 7), seed=0)
    y = model.forward(np.ones((2, 1, 7, 7), np.float32), training=True)
    assert model.backward(y, need_dx=False) is None
    assert asked == [("x", "weight", "bias"), ("weight", "bias")]


@pytest.mark.parametrize("init, gain", [("he", 2 / 400), ("he_uniform", 2 / 400),
                                        ("glorot", 2 / 2000), ("glorot_normal", 2 / 2000)])
def test_first_weights_have_the_promised_variance(init, gain):
    conv, dense = nn.Conv2D(64, 5, init=init), nn.Dense(1600, init=init)
    nn.Sequential([conv, nn.GlobalAvgPool2D(), nn.Flatten(), dense], input_shape=(16, 8, 8), seed=0)
    weight = conv.params["weight"]  # 400 inputs of each output, 1600 outputs of each input
    assert weight.var() == pytest.approx(gain, rel=0.05)
    assert dense.params["weight"].var() == pytest.approx(
        2 / 64 if init.startswith("he") else 2 / 1664, rel=0.05)
    bounded = np.abs(weight).max() <= np.sqrt(3 * gain) * (1 + 1e-6)
    assert bounded == (init in ("he_uniform", "glorot"))
    assert not conv.params["bias"].any()


def test_he_is_for_relu_and_glorot_for_the_rest():
    made = [nn.Conv2D(64, 5, activation=each) for each in ("relu", "relu6", None, "tanh")]
    for layer in made:
        nn.Sequential([layer], input_shape=(16, 8, 8), seed=0)
    np.testing.assert_allclose([layer.params["weight"].var() for layer in made],
                               [2 / 400] * 2 + [2 / 2000] * 2, rtol=0.05)


def test_depthwise_is_a_conv2d_of_as_many_groups():
    x = np.random.default_rng(8).random((2, 3, 6, 6), np.float32)
    depthwise, grouped = (nn.Sequential([layer], input_shape=(3, 6, 6), seed=0) for layer in (
        nn.DepthwiseConv2D(3, multiplier=2), nn.Conv2D(6, 3, groups=3)))
    np.testing.assert_array_equal(depthwise.predict(x), grouped.predict(x))


def test_a_separable_convolution_has_fewer_weights():
    layer = nn.SeparableConv2D(64, 3, name="s")
    model = nn.Sequential([layer], input_shape=(32, 8, 8), seed=0)
    assert [(name, value.shape) for name, value in model.parameters()] == [
        ("s.depthwise.weight", (32, 1, 3, 3)), ("s.pointwise.weight", (64, 32, 1, 1)),
        ("s.pointwise.bias", (64,))]


def _build(*layers, input_shape=(1, 8, 8), **kwargs):
    return nn.Sequential(layers, input_shape=input_shape, seed=0, **kwargs)


def _small():
    return _build(nn.Flatten(), nn.Dense(3), nn.Softmax())


X, LABELS = np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, int)

MESSAGES = {
    "out_channels": (lambda: nn.Conv2D(0, 3), ValueError,
                     "Conv2D: `out_channels` is 0, expected at least 1"),
    "kernel_size": (lambda: nn.Conv2D(4, (3, 3, 3), name="C1"), ValueError,
                    "C1 (Conv2D): `kernel_size` has 3 entries, expected 2"),
    "no integer": (lambda: nn.Dense(2.5), TypeError,
                   "Dense: `out_features` is 2.5, expected an integer"),
    "activation": (lambda: nn.Dense(2, activation="softmax"), ValueError,
                   "Dense: `activation` is 'softmax', expected one of None, 'relu', 'relu6', "
                   "'tanh', 'sigmoid'"),
    "init": (lambda: nn.Dense(2, init="zeros"), ValueError,
             "Dense: `init` is 'zeros', expected one of None, 'he', 'he_uniform', 'glorot', "
             "'glorot_normal'"),
    "rate": (lambda: nn.Dropout(1.0), ValueError,
             "Dropout: `rate` is 1, expected at least 0 and below 1"),
    "lr": (lambda: nn.Adam("fast"), TypeError, "Adam: `lr` is 'fast', expected a number"),
    "momentum": (lambda: nn.SGD(momentum=-1), ValueError,
                 "SGD: `momentum` is -1, expected at least 0 and below 1"),
    "dtype": (lambda: _build(nn.Flatten(), dtype="int8"), ValueError,
              "Sequential: `dtype` is 'int8', expected one of 'float32', 'float64'"),
    "layout": (lambda: _build(nn.Flatten(), layout="HWC"), ValueError,
               "Sequential: `layout` is 'HWC', expected one of 'NCHW', 'NHWC'"),
    "no layers": (lambda: _build(), ValueError,
                  "Sequential: `layers` is empty, expected at least one layer"),
    "no layer": (lambda: _build(nn.Flatten), TypeError, "expected layers such as Dense(10)"),
    "same name": (lambda: _build(nn.ReLU(name="a"), nn.Tanh(name="a")), ValueError,
                  "Sequential: `layers` has two layers named 'a', expected a name of its own"),
    "too large": (lambda: _build(nn.Conv2D(2, 3), nn.Conv2D(2, 7, name="C3")), ValueError,
                  "Sequential: layer C3 (Conv2D) on input (2, 6, 6): conv2d: `weight` spans 7"),
    "stride": (lambda: _build(nn.MaxPool2D(2, stride=0)), ValueError,
               "layer maxpool2d_1 (MaxPool2D) on input (1, 8, 8): max_pool2d: `stride` is 0"),
    "groups": (lambda: _build(nn.Conv2D(4, 3, groups=2)), ValueError,
               "`groups` is 2, expected a divisor of the 1 input channels"),
    "lines": (lambda: _build(nn.Conv1D(4, 3)), ValueError,
              "conv1d_1 (Conv1D): `x` has shape (N, 1, 8, 8), expected 3 axes: lines with "
              "channels"),
    "kernel of a line": (lambda: nn.Conv1D(4, (3, 3)), ValueError,
                         "Conv1D: `kernel_size` has 2 entries, expected 1"),
    "approximate": (lambda: nn.GELU("erf"), ValueError,
                    "GELU: `approximate` is 'erf', expected one of 'none', 'tanh'"),
    "nesterov": (lambda: nn.SGD(nesterov=True), ValueError,
                 "SGD: `momentum` is 0, expected more with nesterov=True"),
    "clip_norm": (lambda: nn.AdamW(clip_norm=0), ValueError, "AdamW: `clip_norm` is 0, expected"),
    "weight_decay": (lambda: nn.RMSprop(weight_decay=-1), ValueError,
                     "RMSprop: `weight_decay` is -1, expected at least 0"),
    "no flatten": (lambda: _build(nn.Dense(3)), ValueError,
                   "dense_1 (Dense): `x` has shape (N, 1, 8, 8), expected 2 axes: "
                   "put a Flatten before it"),
    "not built": (lambda: nn.Sequential([nn.Flatten()]).predict(X), ValueError,
                  "predict: the model has no `input_shape` yet"),
    "x shape": (lambda: _small().predict(X[:, 0]), ValueError,
                "predict: `x` has shape (4, 8, 8), expected (N, 1, 8, 8)"),
    "x dtype": (lambda: _small().predict(X.astype(complex)), TypeError,
                "predict: `x` has dtype complex128, expected real numbers"),
    "y length": (lambda: _small().fit(X, LABELS[:3]), ValueError,
                 "fit: `y` has 3 samples, expected 4 (as many as x)"),
    "no data": (lambda: _small().fit(X[:0], LABELS[:0]), ValueError,
                "fit: `x` has 0 samples, expected at least 1"),
    "class": (lambda: _small().fit(X, LABELS + 3), ValueError,
              "fit: `y` has class 3, expected 0 to 2"),
    "y shape": (lambda: _small().evaluate(X, np.zeros((4, 2))), ValueError,
                "evaluate: `y` has shape (4, 2) and dtype float64, expected (N,)"),
    "validation": (lambda: _small().fit(X, LABELS, validation_data=(X, LABELS - 1)), ValueError,
                   "fit: validation_data: `y` has class -1, expected 0 to 2"),
    "split": (lambda: _small().fit(X, LABELS, validation_split=1), ValueError,
              "fit: `validation_split` is 1, expected at least 0 and below 1"),
    "split of few": (lambda: _small().fit(X, LABELS, validation_split=0.9), ValueError,
                     "fit: `validation_split` is 0.9, expected a share that leaves samples on "
                     "both sides (x has 4)"),
    "split of batches": (lambda: _small().fit(iter([(X, LABELS)]), validation_split=0.5),
                         ValueError, "fit: `validation_split` is 0.5, expected 0 or arrays x and y "
                         "(x is a list_iterator: pass validation_data)"),
    "split without y": (lambda: _small().fit(X, validation_split=0.5), TypeError,
                        "fit: `y` is None, expected the targets of x"),
    "epochs": (lambda: _small().fit(X, LABELS, epochs=1.5), TypeError,
               "fit: `epochs` is 1.5, expected an integer"),
    "batch_size": (lambda: _small().fit(X, LABELS, batch_size=0), ValueError,
                   "fit: `batch_size` is 0, expected at least 1"),
    "no loss": (lambda: _build(nn.Flatten(), nn.Dense(3)).fit(X, LABELS), TypeError,
                "fit: `loss` is None, expected a loss such as CategoricalCrossEntropy()"),
    "twice": (lambda: _small().fit(X, LABELS, loss=nn.CategoricalCrossEntropy(from_logits=True)),
              ValueError, "fit: `loss` has from_logits=True, expected False"),
    "binary": (lambda: _build(nn.Flatten(), nn.Dense(1), nn.Sigmoid()).fit(X, LABELS + 2),
               ValueError, "fit: `y` has values from 2 to 2, expected 0 to 1"),
    "output": (lambda: _build(nn.ReLU(), nn.Softmax()).fit(X, LABELS), ValueError,
               "fit: the model's output has shape (N, 1, 8, 8), expected (N, K)"),
    "backward": (lambda: nn.ReLU(name="r").backward(X), RuntimeError,
                 "r (ReLU): backward needs a forward(x, training=True) before"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    call, kind, message = MESSAGES[name]
    with pytest.raises(kind) as raised:
        call()
    assert message in str(raised.value)
