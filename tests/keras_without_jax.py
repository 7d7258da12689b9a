"""Keras on its NumPy backend where JAX cannot be imported, run in a process of its own.

    python tests/keras_without_jax.py             Keras's own tests of convolution and pooling
    python tests/keras_without_jax.py MODEL DATA  predict with the saved model, y in place of x
"""

import importlib.abc
import os
import sys

import numpy as np


class NoJax(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "jaxlib"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            setattr(self, report.outcome, getattr(self, report.outcome) + 1)


def run_keras_tests(keras):
    import pytest

    source = os.path.join(os.path.dirname(keras.__file__), "src")
    counts = Counts()
    # Keras itself leaves out the tests that train where its backend cannot.
    pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", source, "--import-mode=importlib",
                 "-m", "not requires_trainable_backend", "-W", "ignore",
                 os.path.join(source, "layers", "convolutional"),
                 os.path.join(source, "layers", "pooling")], plugins=[counts])
    print(f"passed {counts.passed}, failed {counts.failed}, skipped {counts.skipped} "
          f"with JAX {'present' if 'jax' in sys.modules else 'absent'}")


def predict(keras, model, data):
    model = keras.models.load_model(model)
    weights = data + ".weights.h5"
    y = model.predict(np.load(data), verbose=0)
    model.save_weights(weights)
    other = keras.models.clone_model(model)
    other.load_weights(weights)
    assert np.array_equal(other.predict(np.load(data), verbose=0), y)
    np.save(data, y)


if __name__ == "__main__":
    sys.meta_path.insert(0, NoJax())
    from engine.interop.keras import install

    install()
    import keras

    predict(keras, *sys.argv[1:]) if sys.argv[1:] else run_keras_tests(keras)
