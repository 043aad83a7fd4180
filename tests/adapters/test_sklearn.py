"""The regressor behaves like scikit-learn's own."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_fit2d_1sample, estimator_checks_generator

import varpro
from tests.adapters import sklearn_checks
from varpro import models
from varpro.adapters.sklearn import VarproRegressor
from varpro.errors import ShapeError

RNG = np.random.default_rng(11)
X = RNG.uniform(0.0, 10.0, (120, 1))
Y = 2.0 * np.exp(-X[:, 0] / 3.0) + 0.5 + 0.02 * RNG.standard_normal(120)


def wide(x, w):
    """As many columns as predictors, a bump, and a constant."""
    x = x[:, None] if x.ndim == 1 else x
    return np.concatenate([x, 1 / (1 + w[0] * x[:, :1] ** 2), np.ones((len(x), 1))], axis=1)


def narrow(x, w):
    """Three columns, whatever the predictors: few enough for few rows."""
    x = x[:, None] if x.ndim == 1 else x
    return np.stack([x.sum(axis=1), 1 / (1 + w[0] * x[:, 0] ** 2), np.ones(len(x))], axis=1)


WEIGHTS = "check_sample_weight_equivalence"
"""Repeated rows and weighted ones agree where the data determine the parameters; `wide` has too many for it."""


def checks():
    for model, wanted in ((wide, lambda name: WEIGHTS not in name), (narrow, lambda name: WEIGHTS in name)):
        for estimator, check in estimator_checks_generator(VarproRegressor(model, [0.3], ridge=1e-8)):
            name = getattr(check, "func", check).__name__
            if wanted(name):
                yield pytest.param(estimator, check, id=name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_own_checks(estimator, check):
    sklearn_checks.run(check, estimator)


@pytest.mark.filterwarnings("ignore")
def test_one_sample_is_told_in_scikit_learns_words():
    """A ridge makes one row enough, so that only a model without one can be told."""
    check_fit2d_1sample("VarproRegressor", VarproRegressor(wide, [0.3]))
    with pytest.raises(ShapeError, match=r"n_samples = 1: 1 valid values for 4 parameters"):
        VarproRegressor(narrow, [0.3]).fit(X[:1], Y[:1])


def test_it_is_varpro_fit():
    regressor = VarproRegressor(models.Exponentials(1, offset=True)).fit(X, Y)
    fit = varpro.fit(models.Exponentials(1, offset=True), X[:, 0], Y)
    np.testing.assert_array_equal(regressor.nonlinear_, fit.nonlinear)
    np.testing.assert_array_equal(regressor.linear_, fit.linear)
    np.testing.assert_array_equal(regressor.stderr_nonlinear_, fit.stderr_nonlinear)
    np.testing.assert_array_equal(regressor.stderr_linear_, fit.stderr_linear)
    np.testing.assert_array_equal(regressor.predict(X[:7]), fit.predict(X[:7, 0]))
    assert regressor.score(X, Y) == pytest.approx(fit.r_squared)


def test_clone_and_pickle_keep_the_options():
    regressor = VarproRegressor(models.Exponentials(1, offset=True), ridge=0.5, bounds={"tau_1": (1.0, 5.0)})
    copy = clone(regressor)
    assert copy.get_params()["ridge"] == 0.5
    assert copy.bounds == {"tau_1": (1.0, 5.0)}
    fitted = regressor.fit(X, Y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))


def test_cross_validation_pipeline_and_grid_search():
    model = models.Exponentials(1, offset=True)
    assert cross_val_score(VarproRegressor(model), X, Y, cv=4).min() > 0.98
    pipeline = make_pipeline(MinMaxScaler(), VarproRegressor(model)).fit(X, Y)
    assert pipeline.score(X, Y) > 0.99
    search = GridSearchCV(VarproRegressor(model), {"ridge": [0.0, 1e4]}, cv=3).fit(X, Y)
    assert search.best_params_ == {"ridge": 0.0}


def test_sample_weights_multiply_squared_residuals():
    counts = RNG.integers(1, 4, len(X))
    model = models.Exponentials(1, offset=True)
    weighted = VarproRegressor(model).fit(X, Y, sample_weight=counts)
    repeated = VarproRegressor(model).fit(np.repeat(X, counts, axis=0), np.repeat(Y, counts))
    np.testing.assert_allclose(weighted.nonlinear_, repeated.nonlinear_, rtol=1e-6)
    with pytest.raises(ValueError, match="zero"):
        VarproRegressor(model).fit(X, Y, sample_weight=np.zeros(len(X)))


def test_several_targets_share_the_nonlinear_parameters():
    regressor = VarproRegressor(models.Exponentials(1, offset=True)).fit(X, np.stack([Y, 3 * Y], axis=1))
    assert regressor.linear_.shape == (2, 2)
    assert regressor.predict(X[:5]).shape == (5, 2)


def test_predict_before_fit():
    with pytest.raises(NotFittedError):
        VarproRegressor(models.Exponentials(1)).predict(X)
