"""engine.nn on a GPU that is emulated: the same calls and results, arrays that stay there."""

import copy
import pickle

import numpy as np
import pytest
from cuda_emulation import emulated

import engine
from engine import nn

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def device():
    with emulated() as device:
        yield device


@pytest.fixture
def copies(device, monkeypatch):
    """How often arrays were copied from the device and to it."""
    counts = {"in": 0, "out": 0}
    copy_in, copy_out = device.copy_in, device.copy_out

    def counted_in(*args):
        counts["in"] += 1
        copy_in(*args)

    def counted_out(*args):
        counts["out"] += 1
        copy_out(*args)

    monkeypatch.setattr(device, "copy_in", counted_in)
    monkeypatch.setattr(device, "copy_out", counted_out)
    return counts


def data_for(model, count=8):
    return (RNG.standard_normal((count, *model.input_shape)).astype(model.dtype),
            RNG.integers(0, 10, count))


def test_lenet_trains_as_on_the_host(copies):
    """Four steps: the same losses; a step copies images and targets there, two results back."""
    host, there = nn.models.lenet5(seed=0), nn.models.lenet5(seed=0)
    x, y = data_for(host)
    assert there.to("cuda") is there and there.device == "cuda:0"
    copies.update({"in": 0, "out": 0})
    expected, found = (model.fit(x, y, epochs=2, batch_size=4, validation_data=(x, y),
                                 optimizer=nn.Adam(weight_decay=1e-3, clip_norm=1.0),
                                 progress=False) for model in (host, there))
    # images and classes; outputs and the length of the gradient; and twice those of validation
    assert copies == {"in": 2 * (2 * 2 + 1), "out": 2 * (2 * 2 + 1)}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4)


def test_resnet20_learns_as_on_the_host(device):
    """The gradients of one batch, the running means, and predictions after a step."""
    host, there = (nn.models.resnet_cifar(20, input_size=8, seed=0) for _ in range(2))
    x, y = data_for(host, 4)
    there.to("cuda")
    for model in (host, there):
        model.fit(x, y, batch_size=4, optimizer=nn.SGD(0.1, momentum=0.9), progress=False)
    assert not isinstance(there.weights, np.ndarray)
    gradients = engine.cuda.asnumpy(there.gradients)
    np.testing.assert_allclose(gradients, host.gradients, atol=2e-5 * abs(host.gradients).max())
    for (name, value), (_, expected) in zip(there.arrays(), host.arrays(), strict=True):
        np.testing.assert_allclose(engine.cuda.asnumpy(value), expected, rtol=2e-3, atol=2e-4,
                                   err_msg=name)
    np.testing.assert_allclose(there.predict(x), host.predict(x), rtol=0.02, atol=1e-4)


LAYERS = {
    "activations": [nn.LeakyReLU(), nn.GELU("tanh"), nn.Tanh(), nn.Sigmoid(), nn.ReLU6()],
    "norm": [nn.BatchNorm(), nn.LocalResponseNorm(3), nn.Dropout(0.5)],
    "branches": [nn.Concatenate([nn.Conv2D(2, 1), [nn.Conv2D(3, 3, padding=1)], []]),
                 nn.Residual([nn.Conv2D(8, 3, padding=1)], activation="relu6")],
    "convolutions": [nn.DepthwiseConv2D(3, multiplier=2), nn.SeparableConv2D(4, 3, padding=1),
                     nn.ConvTranspose2D(3, 2, stride=2, activation="tanh")],
    "pools": [nn.AvgPool2D(2, padding=1), nn.LpPool2D(2), nn.MinPool2D(1), nn.GlobalLpPool2D()],
}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_layers(device, layers, layout):
    shape = (3, 6, 7) if layout == "NCHW" else (6, 7, 3)
    host = nn.Sequential(copy.deepcopy(layers), input_shape=shape, layout=layout, seed=0)
    there = copy.deepcopy(host).to("cuda")
    x = RNG.standard_normal((4, *shape)).astype(np.float32)
    dy = RNG.standard_normal((4, *host.output_shape)).astype(np.float32)
    expected = host.forward(x, training=True), host.backward(dy)
    found = there.forward(engine.cuda.asarray(x), training=True), there.backward(
        engine.cuda.asarray(dy))
    for one, other in zip((*found, there.gradients), (*expected, host.gradients), strict=True):
        np.testing.assert_allclose(engine.cuda.asnumpy(one), other, rtol=1e-4,
                                   atol=1e-5 * max(abs(other).max(initial=0), 1))


def test_lines_and_rows(device):
    """1-D layers, dense layers, and the loss of yes and no."""
    layers = [nn.Conv1D(4, 3, activation="relu"), nn.BatchNorm(), nn.MaxPool1D(2), nn.Flatten(),
              nn.Dense(5, activation="sigmoid"), nn.BatchNorm(), nn.Dense(2), nn.Sigmoid()]
    host = nn.Sequential(layers, input_shape=(3, 10), seed=0, dtype="float64")
    there = copy.deepcopy(host).to("cuda")
    x, y = RNG.standard_normal((6, 3, 10)), RNG.integers(0, 2, (6, 2))
    for model in (host, there):
        model.fit(x, y, epochs=2, batch_size=3, progress=False)
    np.testing.assert_allclose(there.predict(x), host.predict(x), rtol=1e-8)


@pytest.mark.parametrize("optimizer", [
    nn.SGD(0.1, momentum=0.9, nesterov=True, clip_value=0.1), nn.AdamW(0.01, clip_norm=0.5),
    nn.RMSprop(0.01, centered=True, momentum=0.5)], ids=lambda each: type(each).__name__)
def test_optimizers(device, optimizer):
    host, gradients = RNG.standard_normal((2, 20_000)).astype(np.float32)
    there, twin = engine.cuda.asarray(host), copy.deepcopy(optimizer)
    for _ in range(2):
        optimizer.step(host, gradients)
        twin.step(there, engine.cuda.asarray(gradients))
    np.testing.assert_allclose(there.copy_to_host(), host, rtol=1e-6, atol=1e-7)


def test_models_are_saved_copied_and_moved(device, tmp_path):
    model = nn.Sequential([nn.Conv2D(4, 3), nn.BatchNorm(), nn.Flatten(), nn.Dense(10),
                           nn.Softmax()], input_shape=(1, 6, 6), seed=0).to("cuda")
    x, y = data_for(model)
    path = tmp_path / "training.safetensors"
    model.fit(x, y, epochs=2, batch_size=4, progress=False, callbacks=[
        nn.Checkpoint(path), nn.EarlyStopping("loss", restore_best=True)])
    expected = model.predict(x)
    model.save(tmp_path / "model.safetensors")
    others = [nn.load(tmp_path / "model.safetensors"), copy.deepcopy(model),
              pickle.loads(pickle.dumps(model))]
    assert [each.device for each in others] == ["cpu", "cuda:0", "cuda:0"]
    for each in (*others, others[1].to("cpu")):
        np.testing.assert_allclose(each.predict(x), expected, rtol=1e-5)
    resumed = nn.Sequential(model.layers, input_shape=(1, 6, 6), seed=0).to("cuda")
    resumed.fit(x, y, epochs=3, batch_size=4, progress=False, resume=path)
    assert resumed.epochs_done == 3
    others[1].replace_head(3)
    assert others[1].to("cuda").predict(x).shape == (8, 3)


def test_messages(device):
    model = nn.Sequential([nn.Conv2D(4, 3), nn.GELU()], input_shape=(1, 6, 6), seed=0)
    with pytest.raises(ValueError, match=r"to: `device` is 'gpu', expected \"cpu\", \"cuda\""):
        model.to("gpu")
    model.to("cuda")
    with pytest.raises(TypeError, match=r"(?s)conv2d: `x` is array.*expected a CUDA array"):
        model.forward(np.ones((1, 1, 6, 6), np.float32))
    with pytest.raises(TypeError, match="not copied to the host unasked"):  # GELU without tanh
        model.predict(np.ones((1, 1, 6, 6), np.float32))
    with pytest.raises(ValueError, match=r'compile: the model is on cuda:0, expected model.to\("c'):
        nn.compile(model, batch_size=1)
