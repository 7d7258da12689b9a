"""scikit-learn: CNNs of `engine.nn` as a classifier and a regressor.

>>> from sklearn.datasets import load_digits
>>> from sklearn.model_selection import cross_val_score
>>> from engine.interop.sklearn import CNNClassifier
>>> X, y = load_digits(return_X_y=True)
>>> cnn = CNNClassifier(image_shape=(1, 8, 8), epochs=5, random_state=0)
>>> bool(cross_val_score(cnn, X / 16, y, cv=3).mean() > 0.9)
True

The estimators keep scikit-learn's rules (`sklearn.utils.estimator_checks.check_estimator` passes)
and so work in pipelines, grid searches and cross-validation.
"""

from __future__ import annotations

import copy
import math
from typing import ClassVar

import numpy as np

from engine import nn
from engine.nn._extras import need

base = need("sklearn.base", "engine.interop.sklearn", "sklearn")
utils = need("sklearn.utils", "engine.interop.sklearn", "sklearn")
multiclass = need("sklearn.utils.multiclass", "engine.interop.sklearn", "sklearn")
validation = need("sklearn.utils.validation", "engine.interop.sklearn", "sklearn")


class _CNN(base.BaseEstimator):
    """What both estimators do."""

    def __init__(self, layers=None, *, image_shape=None, epochs=30, batch_size=16,
                 learning_rate=0.005, random_state=None):
        self.layers = layers
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def _fit(self, X, target, head, loss):
        """Train a new model: its layers, all numbers in one row, the head."""
        images = self._images(X)
        seed = utils.check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        layers = default_layers(images.shape[1:]) if self.layers is None else self.layers
        self.model_ = nn.Sequential([*copy.deepcopy(list(layers)), nn.Flatten(), *head],
                                    input_shape=images.shape[1:], seed=seed)
        self.history_ = self.model_.fit(
            images, target, epochs=self.epochs, batch_size=self.batch_size, loss=loss,
            optimizer=nn.Adam(self.learning_rate), progress=False)
        return self

    def _predict(self, X):
        validation.check_is_fitted(self)
        return self.model_.predict(self._images(_data(self, X, reset=False)))

    def _images(self, X):
        """Rows of numbers as lines or images with channels."""
        shape = X.shape[1:]
        if self.image_shape is not None:
            shape = tuple(self.image_shape)
            if len(shape) not in (2, 3):
                raise ValueError(f"{type(self).__name__}: `image_shape` is {shape}, expected "
                                 "(channels, length) or (channels, height, width)")
            if math.prod(shape) != math.prod(X.shape[1:]):
                raise ValueError(f"{type(self).__name__}: `image_shape` is {shape}, "
                                 f"{math.prod(shape)} numbers, expected {math.prod(X.shape[1:])} "
                                 "(the features of X)")
        elif len(shape) == 1:
            shape = (1, *shape)
        return np.ascontiguousarray(X, np.float32).reshape(len(X), *shape)


def default_layers(image_shape) -> list[nn.Layer]:
    """One convolution for lines, up to two with poolings for images; then 32 or 64 features."""
    if len(image_shape) == 2:
        return [nn.Conv1D(16, 3, padding="same", activation="relu"), nn.Flatten(),
                nn.Dense(32, activation="relu")]
    layers, size = [], min(image_shape[1:])
    for channels in 16, 32:
        layers.append(nn.Conv2D(channels, 3, padding="same", activation="relu"))
        if size >= 4:
            layers.append(nn.MaxPool2D(2))
            size //= 2
    return [*layers, nn.Flatten(), nn.Dense(64, activation="relu")]


def _data(estimator, X, *y, reset=True, **options):
    return validation.validate_data(estimator, X, *y, reset=reset, dtype=[np.float64, np.float32],
                                    allow_nd=True, **options)


_PARAMETERS = """

    Parameters
    ----------
    layers : sequence of engine.nn.Layer, optional
        The layers before the output.  Default: for lines a convolution and a dense layer, for
        images two convolutions with poolings and a dense layer.
    image_shape : tuple of int, optional
        What a row of X stands for: (channels, length) or (channels, height, width).  None takes
        each row for a line with one channel, and an X of more axes as it is: (N, channels, ...).
    epochs, batch_size, learning_rate
        Of the training with Adam.
    random_state : int, RandomState instance or None
        Of the first weights and of the order of the samples.

    Attributes
    ----------
    model_ : engine.nn.Sequential
    history_ : engine.nn.History
        The loss after each epoch.
    n_features_in_ : int
    """


class CNNClassifier(base.ClassifierMixin, _CNN):
    __doc__ = "A convolutional network that tells classes." + _PARAMETERS + """classes_ : ndarray
        The classes, in the order of the columns of `predict_proba`.
    """

    def fit(self, X, y):
        """Train on X (N, features) or (N, channels, ...), and the classes y (N,)."""
        X, y = _data(self, X, y)
        multiclass.check_classification_targets(y)
        self.classes_, target = np.unique(validation.column_or_1d(y, warn=True),
                                          return_inverse=True)
        return self._fit(X, target, [nn.Dense(len(self.classes_)), nn.Softmax()], None)

    def predict_proba(self, X):
        """The probability of every class, (N, classes)."""
        return self._predict(X)

    def predict(self, X):
        """The likeliest classes, (N,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]


class CNNRegressor(base.RegressorMixin, _CNN):
    __doc__ = "A convolutional network that estimates a number." + _PARAMETERS

    def fit(self, X, y):
        """Train on X (N, features) or (N, channels, ...), and the numbers y (N,)."""
        X, y = _data(self, X, y, y_numeric=True)
        y = validation.column_or_1d(y, warn=True).astype(np.float64)
        self._mean, self._scale = y.mean(), y.std() or 1.0  # the network learns standard scores
        return self._fit(X, (y - self._mean) / self._scale, [nn.Dense(1)], _SquaredError())

    def predict(self, X):
        """The numbers, (N,)."""
        return self._predict(X)[:, 0].astype(np.float64) * self._scale + self._mean


class _SquaredError:
    """The mean of (y - target)**2, as a loss of `engine.nn`."""

    activation: ClassVar[tuple] = ()  # it takes over no last layer
    from_logits = False

    def value(self, y_pred, target) -> float:
        return float(np.square(y_pred - target).mean(dtype=np.float64))

    def gradient(self, y_pred, target) -> np.ndarray:
        return (y_pred - target) * (2 / y_pred.size)

    def correct(self, y_pred, target) -> int:
        return 0  # there is no right and wrong

    def targets(self, who, y, output_shape, dtype) -> np.ndarray:
        return np.asarray(y, dtype)[:, None]
