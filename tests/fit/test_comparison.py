"""Criteria and F-tests of models of the same data."""

import numpy as np
import pytest
import scipy

import varpro
from varpro.errors import ConfigError

T = np.linspace(0.0, 12.5, 150)
Y = varpro.models.Exponentials(2, offset=True)(T, np.array([1.0, 3.0])) @ [4.0, 2.5, 1.0]
Y = Y + 0.05 * np.random.default_rng(0).standard_normal(150)


@pytest.fixture(scope="module")
def fits():
    return [varpro.fit(varpro.models.Exponentials(n, offset=True), T, Y) for n in (2, 1)]


def test_the_criteria_are_those_of_the_books(fits):
    two = fits[0]
    n, p = 150, 5
    assert two.aic == pytest.approx(n * np.log(two.rss / n) + 2 * p)
    assert two.aicc == pytest.approx(two.aic + 2 * p * (p + 1) / (n - p - 1))
    assert two.bic == pytest.approx(n * np.log(two.rss / n) + p * np.log(n))


def test_aicc_is_infinite_for_too_few_values():
    t = np.arange(4.0)
    fit = varpro.fit(varpro.models.Exponentials(1, offset=True), t, np.exp(-t) + 0.01 * t**2, w0=[1.0])
    assert fit.aicc == np.inf


def test_the_f_test_is_that_of_nested_models(fits):
    two, one = fits
    f, probability = two.f_test(one)
    assert f == pytest.approx(((one.rss - two.rss) / 2) / (two.rss / 145))
    assert probability == pytest.approx(scipy.stats.f.sf(f, 2, 145))


def test_a_parameter_too_many_is_found_needless():
    """Over data of one decay, the probability of F for a second is uniform."""
    rng, found = np.random.default_rng(3), []
    line = varpro.models.Gaussians(1) + varpro.models.Constant()
    more = varpro.models.Gaussians(1) + varpro.models.Polynomial(1)
    for _ in range(200):
        y = line(T, np.array([6.0, 1.0])) @ [1.0, 0.5] + 0.05 * rng.standard_normal(150)
        found.append(varpro.fit(more, T, y, w0=[6.0, 1.0]).f_test(varpro.fit(line, T, y, w0=[6.0, 1.0]))[1])
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.001


def test_the_table_is_in_order_and_marks_the_best(fits):
    table = varpro.compare(fits, names=["two", "one"])
    assert [row.name for row in table] == ["one", "two"]
    assert [row.place for row in table] == [1, 0]
    assert len(table) == 2
    assert table.best.name == "two"
    assert sum(row.weight for row in table) == pytest.approx(1.0)
    assert table.rows[1].f == pytest.approx(fits[0].f_test(fits[1])[0])
    assert np.isnan(table.rows[0].f)
    assert "two *" in str(table)
    assert "<td>two *</td>" in table._repr_html_()


def test_weights_are_akaikes(fits):
    rows = varpro.compare(fits).rows
    expected = np.exp(-0.5 * (rows[0].aicc - rows[1].aicc))
    assert rows[0].weight / rows[1].weight == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"y": Y + 0.1}, "other data or weights"),
        ({"weights": np.linspace(1, 2, 150)}, "other data or weights"),
        ({"y": Y[:100], "t": T[:100]}, "data of shape"),
        ({"loss": "huber"}, "least squares"),
        ({"max_iterations": 1, "w0": [90.0]}, "did not converge"),
    ],
)
def test_fits_of_other_data_are_refused(fits, other, said):
    model = varpro.models.Exponentials(1, offset=True)
    fit = varpro.fit(model, other.pop("t", T), other.pop("y", Y), **other)
    with pytest.raises(ConfigError, match=said) as error:
        varpro.compare([fits[0], fit])
    assert "\n" not in str(error.value)


def test_other_mistakes_are_told(fits):
    with pytest.raises(ConfigError, match="2 fits or more, not 1"):
        varpro.compare(fits[:1])
    with pytest.raises(ConfigError, match="names has 1 entries; there are 2 fits"):
        varpro.compare(fits, names=["two"])
    with pytest.raises(ConfigError, match="the simpler fit has 5 parameters and this one 3"):
        fits[1].f_test(fits[0])


def test_the_printed_table_has_the_numbers_of_each_row(fits):
    table = varpro.compare(fits, names=["two", "one"])
    small, large = table.rows
    lines = str(table).splitlines()
    (small_line,), (large_line,) = ([line.split() for line in lines if line.split()[:1] == [n]] for n in ("one", "two"))
    assert small_line == [
        "one", "3", f"{small.rss:.6g}", f"{small.aic:.2f}", f"{small.aicc:.2f}", f"{small.bic:.2f}", "0.000",
    ]  # fmt: skip
    assert large_line == [
        "two", "*", "5", f"{large.rss:.6g}", f"{large.aic:.2f}", f"{large.aicc:.2f}", f"{large.bic:.2f}", "1.000",
        f"{large.f:.4g}", f"{large.probability:.2g}",
    ]  # fmt: skip
    assert "F tests a row against the one above" in lines[-1]


def test_a_frame_has_the_rows(fits):
    pytest.importorskip("pandas")
    frame = varpro.compare(fits, names=["two", "one"]).to_dataframe()
    assert frame["name"].tolist() == ["one", "two"]
    assert frame["place"].tolist() == [1, 0]
    np.testing.assert_array_equal(frame["rss"], [fits[1].rss, fits[0].rss])


def test_models_of_as_many_parameters_are_not_tested_against_each_other(fits):
    """Neither contains the other: no F, and equal ones share the evidence."""
    same = varpro.compare([fits[1], fits[1], fits[0]], names=["a", "b", "c"])
    assert [row.place for row in same] == [0, 1, 2]
    assert np.isnan([same.rows[0].f, same.rows[1].f]).all()
    assert same.rows[0].weight == same.rows[1].weight
    assert np.isfinite(same.rows[2].f)


def test_names_are_by_default_the_parameters_shortened(fits):
    one = varpro.fit(varpro.models.Exponentials(1, offset=True), T, Y, names=["x" * 41])
    exact = varpro.fit(varpro.models.Exponentials(1, offset=True), T, Y, names=["y" * 40])
    table = varpro.compare([fits[0], one, exact])
    assert {row.name for row in table} == {"tau_1 tau_2", "x" * 37 + "...", "y" * 40}


def test_where_no_aicc_is_finite_the_least_bic_is_best():
    t = np.arange(4.0)
    y = np.array([1.0, 0.55, 0.31, 0.35])
    slower = varpro.fit(lambda t, w: np.stack([1 / (1 + t / w[0]), np.ones_like(t)], axis=1), t, y, [1.0])
    fits = [slower, varpro.fit(varpro.models.Exponentials(1, offset=True), t, y, w0=[1.0])]
    assert [fit.aicc for fit in fits] == [np.inf, np.inf]
    table = varpro.compare(fits, names=["hyperbola", "decay"])
    assert [row.weight for row in table] == [0.5, 0.5]
    assert table.best.bic == min(row.bic for row in table)


def test_weights_by_another_power_of_two_are_the_same_data():
    """Only the product of weight and value counts, up to rounding; a change of 1e-6 is other data."""
    weights = np.linspace(1, 2, 150)
    model = varpro.models.Exponentials(1, offset=True)
    one = varpro.fit(varpro.models.Exponentials(2, offset=True), T, Y, weights=weights)
    assert len(varpro.compare([one, varpro.fit(model, T, Y * (1 + 1e-13), weights=weights)])) == 2
    for other in ({"y": Y * (1 + 1e-6), "weights": weights}, {"y": Y, "weights": weights * (1 + 1e-6)}):
        with pytest.raises(ConfigError, match="fit 1 has other data or weights"):
            varpro.compare([one, varpro.fit(model, T, **other)])
