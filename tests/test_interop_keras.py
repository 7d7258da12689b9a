"""engine.interop.keras: Keras's own tests and models on its NumPy backend, with and without JAX."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
HERE = Path(__file__).parent
MODEL = """
import sys
import numpy as np
import keras
from keras import layers
inputs = keras.Input((20, 18, 3))
x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
x = layers.MaxPooling2D(2, padding="same")(x)
x = layers.SeparableConv2D(12, 3, padding="same")(x)
x = layers.DepthwiseConv2D(2, depth_multiplier=2)(x)
x = layers.Conv2DTranspose(6, 3, strides=2, padding="same")(x)
x = layers.AveragePooling2D(3, strides=2, padding="same")(x)
x = layers.Conv2D(6, 2, groups=3, dilation_rate=2)(x)
model = keras.Model(inputs, layers.Dense(4)(layers.GlobalMaxPooling2D()(x)))
model.save(sys.argv[1])
x = np.load(sys.argv[3])
y = model.predict(x, verbose=0)  # by JAX
np.save(sys.argv[2], y)

from engine.interop.keras import TAKEN_OVER, install
install()
from keras.src.backend.numpy import nn
assert {getattr(nn, name).__module__ for name in TAKEN_OVER} == {"engine.interop.keras"}
np.testing.assert_allclose(model.predict(x, verbose=0), y, rtol=1e-4, atol=1e-6)
"""


def run(*command, backend="numpy"):
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([sys.executable, *map(str, command)], text=True, capture_output=True,
                          env=os.environ | {"PYTHONPATH": path, "KERAS_BACKEND": backend})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_keras_own_tests_without_jax():
    out = run(HERE / "keras_without_jax.py")
    passed, failed, skipped = map(int, re.search(
        r"passed (\d+), failed (\d+), skipped (\d+) with JAX absent", out).groups())
    assert failed == 0 and passed >= 300, out


def test_a_saved_model_predicts_without_jax(tmp_path):
    """What a Keras with JAX made and computed; there, too, engine can take over."""
    pytest.importorskip("jax")
    x = np.random.default_rng(0).random((5, 20, 18, 3), np.float32)
    model, data, truth = tmp_path / "model.keras", tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(data, x)
    run("-c", MODEL, model, truth, data)
    run(HERE / "keras_without_jax.py", model, data)
    np.testing.assert_allclose(np.load(data), np.load(truth), rtol=1e-4, atol=1e-6)


def test_another_backend_is_refused():
    pytest.importorskip("jax")
    out = run("-c", "from engine.interop.keras import install\ntry: install()\n"
              "except ValueError as error: print(error)", backend="jax")
    assert out.startswith("install: the backend of Keras is 'jax', expected 'numpy'")
