"""Parameters that follow an expression: the same fit as a model written that way, with derivatives and errors."""

import pickle

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError
from varpro.fitting.expressions import read

MODEL = varpro.models.Exponentials(3, offset=True)
T = np.linspace(0.0, 12.5, 200)
Y = MODEL(T, np.array([0.5, 1.5, 4.0])) @ [4.0, 2.5, 1.0, 0.3] + 0.01 * np.sin(1e4 * np.sin(1.0 + np.arange(200.0)))
LABELS = ("tau_1", "tau_2", "w.real", "tau[0]", "tau[low]")


@pytest.mark.parametrize(
    ("text", "value", "slopes"),
    [
        ("2 * tau_1 + tau_2", 2 * 1.5 + 0.7, {0: 2.0, 1: 1.0}),
        ("tau_1 / tau_2 - 1", 1.5 / 0.7 - 1, {0: 1 / 0.7, 1: -1.5 / 0.49}),
        ("-tau_1**2", -2.25, {0: -3.0}),
        ("2 ** tau_1", 2**1.5, {0: 2**1.5 * np.log(2)}),
        ("(tau_1 * tau_2) ** 0.5", np.sqrt(1.05), {0: 0.5 * 0.7 / np.sqrt(1.05), 1: 0.75 / np.sqrt(1.05)}),
        ("tau_1 ** tau_2", 1.5**0.7, {0: 0.7 * 1.5**-0.3, 1: 1.5**0.7 * np.log(1.5)}),
        ("tau_1 * tau_1", 2.25, {0: 3.0}),
        ("w.real + tau[0] - tau[low]", 2.0 + 3.0 - 4.0, {2: 1.0, 3: 1.0, 4: -1.0}),
        ("+tau_1 ** 0", 1.0, {0: 0.0}),
        ("1e-3", 1e-3, {}),
    ],
)
def test_values_and_derivatives_are_exact(text, value, slopes):
    w = np.array([[1.5, 0.7, 2.0, 3.0, 4.0]])
    found, by = pickle.loads(pickle.dumps(read(text, LABELS, "tied: x"))).at(w)
    assert found[0] == pytest.approx(value, rel=1e-14)
    assert by.keys() == slopes.keys()
    for p, slope in slopes.items():
        assert by[p][0] == pytest.approx(slope, rel=1e-14)


@pytest.mark.parametrize("form", ["ready", "function"])
def test_a_fit_is_that_of_the_model_written_out(form):
    def written(t, w):
        return MODEL(t, np.array([w[0], (w[0] * w[1]) ** 0.5 + 0.1, w[1]]))

    def plain(t, w):
        return MODEL(t, np.asarray(w))

    tied = {"tau_2": "(tau_1 * tau_3) ** 0.5 + 0.1"}
    names = None if form == "ready" else ["tau_1", "tau_2", "tau_3"]
    ours = varpro.fit(MODEL if form == "ready" else plain, T, Y, [0.6, 2.0, 5.0], tied=tied, names=names)
    other = varpro.fit(written, T, Y, [0.6, 5.0])
    assert ours.rss == pytest.approx(other.rss, rel=1e-10)
    np.testing.assert_allclose(ours.nonlinear[[0, 2]], other.nonlinear, rtol=1e-6)
    np.testing.assert_allclose(ours.stderr_nonlinear[[0, 2]], other.stderr_nonlinear, rtol=1e-4)
    np.testing.assert_allclose(ours.stderr_linear, other.stderr_linear, rtol=1e-4)
    assert ours.dof == other.dof == 194
    a, b = ours.nonlinear[[0, 2]]
    assert ours.nonlinear[1] == pytest.approx(np.sqrt(a * b) + 0.1, rel=1e-14)
    g = 0.5 * np.array([np.sqrt(b / a), np.sqrt(a / b)])  # the derivative of the tied one
    cov = other.covariance[:2, :2]
    assert ours.stderr_nonlinear[1] == pytest.approx(np.sqrt(g @ cov @ g), rel=1e-4)
    np.testing.assert_allclose(ours.covariance[1, [0, 2]], cov @ g, rtol=1e-3)


def test_a_plain_tie_written_as_an_expression_is_the_same_tie():
    as_rule = varpro.fit(MODEL, T, Y, [0.6, 2.0, 5.0], tied={"tau_2": ("tau_1", 3.0, 0.1)})
    as_text = varpro.fit(MODEL, T, Y, [0.6, 2.0, 5.0], tied={"tau_2": "3 * tau_1 + 0.1"})
    np.testing.assert_allclose(as_text.nonlinear, as_rule.nonlinear, rtol=1e-10)
    np.testing.assert_allclose(as_text.covariance, as_rule.covariance, rtol=1e-6)


def test_expressions_may_follow_one_another_and_name_fixed_parameters():
    fit = varpro.fit(MODEL, T, Y, [0.6, 2.0, 5.0], fixed={"tau_1": 0.5}, tied={"tau_2": "tau_1 + tau_3 / 4"})
    assert fit.nonlinear[1] == pytest.approx(0.5 + fit.nonlinear[2] / 4)
    assert fit.stderr_nonlinear[1] == pytest.approx(fit.stderr_nonlinear[2] / 4)
    chain = varpro.fit(MODEL, T, Y, [0.6, 2.0, 5.0], tied={"tau_3": "2 * tau_2", "tau_2": "tau_1 * 3 - 0.1"})
    assert chain.nonlinear[2] == pytest.approx(6 * chain.nonlinear[0] - 0.2)
    assert chain.stderr_nonlinear[2] == pytest.approx(6 * chain.stderr_nonlinear[0])


def test_a_batch_has_them_for_each_problem():
    many = varpro.fit_batch(MODEL, T, np.stack([Y, 2 * Y]), [0.6, 2.0, 5.0], tied={"tau_2": "tau_1 ** 0.5 + tau_3 / 5"})
    one = varpro.fit(MODEL, T, Y, [0.6, 2.0, 5.0], tied={"tau_2": "tau_1 ** 0.5 + tau_3 / 5"})
    np.testing.assert_allclose(many.nonlinear, np.tile(one.nonlinear, (2, 1)), rtol=1e-4)
    np.testing.assert_allclose(many.stderr_nonlinear, np.tile(one.stderr_nonlinear, (2, 1)), rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tied": {"tau_1": "tau_2 * 2", "tau_2": "tau_1 + 1"}}, "tau_1 -> tau_2 -> tau_1 is circular"),
        ({"tied": {"tau_1": "tau_1 + 1"}}, "tau_1 -> tau_1 is circular"),
        ({"tied": {"tau_1": "tau_9 + 1"}}, "tied: tau_1: no parameter is called 'tau_9'; there are tau_1"),
        ({"tied": {"tau_1": "exp(tau_2)"}}, r"'exp\(tau_2\)' calls a function"),
        ({"tied": {"tau_1": "__import__('os').getcwd()"}}, "calls a function"),
        ({"tied": {"tau_1": "tau_2 if tau_3 else 1"}}, "holds 'tau_2 if tau_3 else 1'"),
        ({"tied": {"tau_1": "True + tau_2"}}, "holds 'True'"),
        ({"tied": {"tau_1": "2 *"}}, "is no expression"),
        ({"tied": {"tau_1": "2 * tau_2"}, "fixed": ["tau_1"]}, "tau_1 is fixed, too"),
        ({"tied": {"tau_1": "2 * tau_2"}, "bounds": {"tau_1": (0, 9)}}, "bounds of tau_1, which follows an expression"),
        ({"tied": {"tau_1": "2 * tau_2", "tau_3": ("tau_1", 2.0)}}, "tau_3 follows a parameter that is tied itself"),
    ],
)
def test_mistakes_are_told_in_one_line(options, said):
    with pytest.raises(ConfigError, match=said) as error:
        varpro.fit(MODEL, T, Y, [0.6, 2.0, 5.0], **options)
    assert "\n" not in str(error.value)


def test_a_profile_of_what_follows_is_refused_and_tied_ones_are_not_called_correlated():
    fit = varpro.fit(MODEL, T, Y, [0.6, 2.0, 5.0], tied={"tau_2": "3 * tau_1 + 0 * tau_3"})
    with pytest.raises(ConfigError, match="tau_2 was not fitted by itself"):
        fit.profile("tau_2")
    assert not any("tau_2" in warning for warning in fit.warnings)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tau_1 / 0", "no finite value where tau_1 = 0.4"),
        ("1 / (tau_1 - tau_1)", "no finite value where tau_1 = 0.4"),
        ("(0 - 2) ** tau_1", "no finite value where tau_1 = 0.4"),
        ("1e400", "no finite value; mend it"),
    ],
)
def test_an_expression_without_a_value_at_the_start_is_named(text, why):
    with pytest.raises(ConfigError, match=f"tau_2 follows .* {why}"):
        varpro.fit(MODEL, T, Y, [0.4, 1.0, 5.0], tied={"tau_2": text})


@pytest.mark.parametrize("rule", [None, (), ("tau_1", "x"), ("tau_1", np.nan), ("tau_1", 2.0, np.inf), ("tau_1", True)])
def test_a_rule_that_is_none_is_told(rule):
    with pytest.raises(ConfigError, match=r"tied: .*(is no rule|each is a finite number)"):
        varpro.fit(MODEL, T, Y, [0.4, 1.0, 5.0], tied={"tau_2": rule})


def test_a_rule_may_be_a_list():
    one, two = (
        varpro.fit(MODEL, T, Y, [0.4, 1.0, 5.0], tied={"tau_2": kind(["tau_1", 3.0])}) for kind in (list, tuple)
    )
    assert one.rss == two.rss
    assert one.nonlinear[1] == 3 * one.nonlinear[0]


@pytest.mark.parametrize("name", ["tau_2[warm one]", "a b", "lambda", "k(1)", "a-b"])
def test_a_name_that_is_no_word_is_told(name):
    with pytest.raises(ConfigError, match="cannot stand in an expression; give it a name") as caught:
        read(f"2 * tau_1 + {name} / 3", ("tau_1", name), "tied: tau_3")
    assert repr(name) in str(caught.value)
