"""engine.interop.sklearn in scikit-learn's own hands."""

import copy
import pickle

import numpy as np
import pytest

from engine import nn

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.datasets import load_diabetes, load_digits  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from engine.interop.sklearn import CNNClassifier, CNNRegressor  # noqa: E402

DIGITS = {"image_shape": (1, 8, 8), "epochs": 6, "random_state": 0}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("estimator", [CNNClassifier(), CNNRegressor()],
                         ids=lambda each: type(each).__name__)
def test_check_estimator(estimator):
    checks = check_estimator(estimator)  # raises at the first failure
    passed = [each for each in checks if each["status"] == "passed"]
    absent = {each["check_name"] for each in checks if each["status"] == "skipped"}
    assert absent <= {"check_array_api_input", "check_classifier_data_not_an_array",
                      "check_regressor_data_not_an_array"}  # these want pandas or an array API
    assert len(passed) + len(absent) == len(checks) and len(passed) >= 40


def test_cross_validation():
    X, y = load_digits(return_X_y=True)
    assert cross_val_score(CNNClassifier(**DIGITS), X / 16, y, cv=3).mean() > 0.92


def test_pipeline():
    X, y = load_digits(return_X_y=True)
    scale = FunctionTransformer(lambda X: X / 16)
    model = make_pipeline(scale, CNNClassifier(**DIGITS)).fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.92
    X, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), CNNRegressor(epochs=10, random_state=0))
    assert cross_val_score(model, X, y, cv=3).mean() > 0.3  # a linear regression reaches 0.49


def test_grid_search():
    X, y = load_digits(n_class=3, return_X_y=True)
    small = [nn.Conv2D(4, 3, activation="relu"), nn.MaxPool2D(2)]
    search = GridSearchCV(CNNClassifier(**DIGITS | {"epochs": 1}),
                          {"layers": [None, small], "learning_rate": [0.0, 0.01]}, cv=2)
    search.fit(X / 16, y)
    assert search.best_params_["learning_rate"] == 0.01 and search.best_score_ > 0.9
    assert len(search.cv_results_["params"]) == 4
    assert not small[0].params  # trained were copies


def test_images_may_come_as_images():
    X, y = load_digits(return_X_y=True)
    X = (X / 16)[:200]
    rows = CNNClassifier(**DIGITS).fit(X, y[:200])
    images = CNNClassifier(**DIGITS | {"image_shape": None}).fit(X.reshape(-1, 1, 8, 8), y[:200])
    np.testing.assert_array_equal(rows.predict_proba(X),
                                  images.predict_proba(X.reshape(-1, 1, 8, 8)))
    assert [type(layer) for layer in rows.model_.layers[:2]] == [nn.Conv2D, nn.MaxPool2D]


def test_wrong_image_shapes():
    X, y = np.zeros((4, 6)), np.arange(4) % 2
    with pytest.raises(ValueError, match=r"CNNClassifier: `image_shape` is \(1, 8, 8\), 64 numbers,"
                                         r" expected 6"):
        CNNClassifier(image_shape=(1, 8, 8)).fit(X, y)
    with pytest.raises(ValueError, match=r"CNNRegressor: `image_shape` is \(6,\), expected"):
        CNNRegressor(image_shape=(6,)).fit(X, y)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_models_can_be_trained(duplicate):
    X, y = load_digits(return_X_y=True)
    X, y = (X / 16).reshape(-1, 1, 8, 8)[:64], y[:64]
    model = nn.Sequential([nn.Conv2D(4, 3), nn.Flatten(), nn.Dense(10), nn.Softmax()], seed=0)
    model.fit(X, y, progress=False)
    other, before = duplicate(model), model.predict(X)
    np.testing.assert_array_equal(other.predict(X), before)
    history = [each.fit(X, y, epochs=2, progress=False)["loss"] for each in (other, model)]
    assert history[0] == history[1] and history[0][1] < history[0][0]
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
