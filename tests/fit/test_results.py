"""What a result offers: a table, JSON, pickle, a data frame."""

import copy
import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import varpro
from tests.fit.problems import DECAY_DERIVATIVE, decay_columns, decay_data, decays
from varpro.errors import BackendError, ConfigError

W0 = [2.0, 6.5]


def test_a_table_names_every_parameter_with_its_value():
    t, y = decay_data()
    fit = varpro.fit(decays, t, y, W0, names=["fast", "slow"], linear_names=["A", "B", "floor"])
    text = str(fit)
    for name, value in zip([*fit.names, *fit.linear_names], [*fit.nonlinear, *fit.linear], strict=True):
        (line,) = [row for row in text.splitlines() if row.split()[:1] == [name]]
        assert float(line.split()[1]) == pytest.approx(value, rel=1e-7)
    assert fit.message in text
    assert f"{fit.nfev} evaluations" in text
    assert "cost_tolerance" in repr(fit) or "tolerance" in repr(fit)


@pytest.mark.parametrize("kind", ["real", "complex", "several"])
def test_a_result_is_json(kind):
    t, y = decay_data(right=2 if kind == "several" else None)
    if kind == "complex":
        fit = varpro.fit(lambda t, w: np.exp(np.multiply.outer(t, w)), t, y * np.exp(2j * t), np.array([-0.4 + 2.1j]))
    else:
        fit = varpro.fit(decays, t, y, W0, names=["fast", "slow"])
    back = json.loads(json.dumps(fit.to_dict()))
    assert list(back["nonlinear"]) == list(fit.names)
    assert back["rss"] == fit.rss
    assert back["success"] is True
    if kind == "real":
        assert back["linear"] == fit.linear.tolist()
        assert back["stderr_nonlinear"] == fit.stderr_nonlinear.tolist()


@pytest.mark.parametrize("options", [{}, {"derivative": (DECAY_DERIVATIVE[0], decay_columns)}, {"loss": "huber"}])
def test_a_result_pickles_with_its_model(options):
    t, y = decay_data(n=20)
    fit = varpro.fit(decays, t, y, W0, **options)
    back = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(back.nonlinear, fit.nonlinear)
    np.testing.assert_array_equal(back.predict(t), fit.predict(t))
    np.testing.assert_allclose(back.covariance, fit.covariance, rtol=1e-12)
    np.testing.assert_allclose(back.confidence_band(t), fit.confidence_band(t), rtol=1e-12)
    assert str(back) == str(fit)


OPTIONS = [{}, {"ridge": 0.1}, {"loss": "huber"}, {"linear": "nonnegative"}, {"weights": np.linspace(1, 2, 20)}]
NUMBERS = ("nonlinear", "linear", "rss", "cost", "dof", "sigma", "stderr_nonlinear", "stderr_linear", "covariance")
NUMBERS += ("correlation", "fitted", "residual", "r_squared", "aic", "bic", "reduced_chi2", "form", "status", "rank")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_result_of_a_lambda_pickles_with_everything_but_prediction(options):
    t, y = decay_data(n=20)
    fit = varpro.fit(lambda t, w: decays(t, w), t, y, W0, **options)
    many = varpro.fit_batch(lambda t, w: decays(t, w), t, np.stack([y, 2 * y]), W0, **options)
    whole = pickle.loads(pickle.dumps(many))
    for name in ("rss", "dof", "sigma", "stderr_nonlinear", "stderr_linear"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(many, name))
    for one, back in [(fit, pickle.loads(pickle.dumps(fit))), (many[1], pickle.loads(pickle.dumps(many[1])))]:
        for name in NUMBERS:
            np.testing.assert_array_equal(getattr(back, name), getattr(one, name), err_msg=name)
        assert str(back) == str(one)
        for use in (lambda back=back: back.predict(t), lambda back=back: back.confidence_band(t), whole.predict):
            with pytest.raises(ConfigError, match="could not be pickled"):
                use()
    np.testing.assert_array_equal(whole[1].covariance, many[1].covariance)


def test_one_problem_of_many_pickles_without_the_others():
    t, y = decay_data(n=20)
    many = varpro.fit_batch(decays, t, np.stack([y] * 200), W0)
    assert len(pickle.dumps(many[3])) < 0.1 * len(pickle.dumps(many))


def test_a_data_frame_or_the_way_to_get_one():
    t, y = decay_data()
    fit = varpro.fit(decays, t, y, W0)
    try:
        import pandas
    except ImportError:
        with pytest.raises(BackendError, match="pip install pandas"):
            fit.to_dataframe()
        return
    table = fit.to_dataframe()
    assert isinstance(table, pandas.DataFrame)
    np.testing.assert_array_equal(table["value"], [*fit.nonlinear, *fit.linear])


@pytest.mark.parametrize("model", [varpro.models.Exponentials(2), lambda t, w: np.exp(-t[:, None] / w)])
def test_the_history_made_when_it_is_read_travels_with_the_result(model: Callable[..., object]) -> None:
    t = np.linspace(0.0, 12.5, 100)
    y = 4.0 * np.exp(-t) + 2.5 * np.exp(-t / 3.0) + 0.01 * np.random.default_rng(0).standard_normal(len(t))
    fit = varpro.fit(model, t, y, [1.0, 7.0])
    sent = pickle.dumps(fit)  # before anyone has read it
    assert isinstance(fit.history, list)
    assert len(fit.history) == fit.nfev - 1
    assert {record.rank for record in fit.history} == {2}
    assert repr(pickle.loads(sent).history) == repr(fit.history) == repr(copy.deepcopy(fit).history)
