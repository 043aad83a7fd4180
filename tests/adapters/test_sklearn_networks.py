"""The classifier and the regressor of images and vectors behave like scikit-learn's own."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from tests.adapters import sklearn_checks
from varpro.adapters.sklearn import VarproClassifier, VarproNetworkRegressor
from varpro.errors import DataError

DIGITS, LABELS = load_digits(return_X_y=True)
UNITS = {
    "quadratic": {},
    "bilinear": {"options": {"rank": 2}},
    "local-bilinear": {"options": {"window": (3, 6)}},
    "multilinear": {"options": {"shared": True}},
    "convolutional": {"options": {"filter": 3, "cells": 2}, "sigma": "smooth_abs"},
}


def checks():
    for estimator in (VarproClassifier(12, iterations=4), VarproNetworkRegressor(12, iterations=4)):
        for made, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            yield pytest.param(made, check, id=f"{type(estimator).__name__}-{name}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_own_checks(estimator, check):
    sklearn_checks.run(check, estimator)


@pytest.mark.parametrize("unit", UNITS)
def test_every_kind_of_unit_reads_digits(unit):
    model = VarproClassifier(30, unit=unit, image_shape=(8, 8), iterations=4, random_state=0, **UNITS[unit])
    model.fit(DIGITS[:900], LABELS[:900])
    assert model.network_.units.kind == unit
    assert model.score(DIGITS[900:], LABELS[900:]) > 0.8
    probabilities = model.predict_proba(DIGITS[900:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert -np.log(probabilities[np.arange(len(probabilities)), LABELS[900:]]).mean() < 0.7


def test_images_may_come_as_images_and_as_bytes():
    flat = VarproClassifier(10, image_shape=(8, 8), iterations=2, random_state=0).fit(DIGITS[:300], LABELS[:300])
    images = VarproClassifier(10, iterations=2, random_state=0).fit(DIGITS[:300].reshape(-1, 8, 8), LABELS[:300])
    np.testing.assert_array_equal(flat.predict_proba(DIGITS[300:400]), images.predict_proba(DIGITS[300:400]))
    as_bytes = np.minimum(DIGITS * 16, 255).astype(np.uint8)
    made = [
        VarproClassifier(10, image_shape=(8, 8), iterations=0, ridge=1e-2, random_state=0).fit(
            pixels[:300], LABELS[:300]
        )
        for pixels in (as_bytes, as_bytes / 255.0)
    ]
    of_bytes, of_floats = made[0].predict_proba(as_bytes[300:400]), made[1].predict_proba(as_bytes[300:400] / 255.0)
    np.testing.assert_allclose(of_bytes, of_floats, rtol=0, atol=1e-6)


def test_training_is_worth_something():
    scores = [
        VarproClassifier(20, image_shape=(8, 8), iterations=n, random_state=0)
        .fit(DIGITS[:900], LABELS[:900])
        .score(DIGITS[900:], LABELS[900:])
        for n in (0, 8)
    ]
    assert scores[1] > scores[0] + 0.02


def test_a_regressor_finds_a_smooth_function_of_vectors_and_several_targets():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (600, 3))
    y = np.stack([np.sin(x[:, 0]) + x[:, 1] ** 2, 100 * x[:, 2] + 7], axis=1)
    model = VarproNetworkRegressor(30, random_state=0).fit(x[:400], y[:400])
    assert model.score(x[400:], y[400:]) > 0.98
    alone = VarproNetworkRegressor(30, random_state=0).fit(x[:400], y[:400, 0])
    assert alone.predict(x[:5]).shape == (5,)
    assert alone.score(x[400:], y[400:, 0]) > 0.95


def test_further_keys_of_a_config_reach_the_trainer():
    config = {"subnetworks": 3, "samples": 200, "refine": False}
    model = VarproClassifier(8, image_shape=(8, 8), config=config, random_state=0).fit(DIGITS[:600], LABELS[:600])
    assert model.network_.units.count == 24
    assert model.score(DIGITS[900:], LABELS[900:]) > 0.7


def test_clone_pickle_pipeline_and_grid_search():
    model = VarproClassifier(8, iterations=1, random_state=0)
    assert clone(model).get_params() == model.get_params()
    fitted = make_pipeline(MinMaxScaler(), model).fit(DIGITS[:300], LABELS[:300])
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(DIGITS[:9]), fitted.predict_proba(DIGITS[:9]))
    search = GridSearchCV(model, {"units": [2, 25]}, cv=2).fit(DIGITS[:300], LABELS[:300])
    assert search.best_params_ == {"units": 25}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"image_shape": (7, 8)}, "56 pixels, but X has 64 columns"),
        ({"unit": "quadratical"}, "model.unit is 'quadratical'"),
        ({"unit": "quadratic"}, "needs square images"),
        ({"options": {"rank": 0}}, "rank is 0"),
        ({"units": -1}, "units is -1"),
        ({"validation_fraction": 1.0}, "validation_fraction is 1.0"),
        ({"config": {"unit": 3}}, "unknown key unit"),
    ],
)
def test_a_mistake_is_told_with_its_value(parameters, message):
    with pytest.raises(ValueError, match=message) as caught:
        VarproClassifier(**{"iterations": 1, **parameters}).fit(DIGITS[:100], LABELS[:100])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("label", "plain"), [(0.0, "0.0"), (3, "3"), ("a", "a"), (True, "True")], ids=["float", "int", "text", "bool"]
)
def test_a_single_class_is_told_as_it_was_given(label, plain):
    with pytest.raises(DataError, match=f"y has one class, {plain}; a classifier needs"):
        VarproClassifier(iterations=1).fit(DIGITS[:9], np.full(9, label))


def test_the_regressor_of_curves_needs_nothing_that_a_training_needs():
    code = "import sys, varpro.adapters.sklearn; print({'pydantic', 'h5py'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
