"""What a result offers: a table, JSON, pickle, a data frame."""

import json
import pickle

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


def test_a_result_of_a_lambda_pickles_and_says_what_is_missing():
    t, y = decay_data(n=20)
    fit = varpro.fit(lambda t, w: decays(t, w), t, y, W0)
    back = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(back.stderr_nonlinear, fit.stderr_nonlinear)
    np.testing.assert_array_equal(back.stderr_linear, fit.stderr_linear)
    assert str(back) == str(fit)
    for use in (lambda: back.predict(t), lambda: back.fitted, lambda: back.confidence_band(t)):
        with pytest.raises(ConfigError, match="could not be pickled"):
            use()


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
