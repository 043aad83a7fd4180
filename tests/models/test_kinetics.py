"""Compartment schemes against exponentials of matrices and textbook solutions, and what is no scheme."""

import numpy as np
import pytest
import scipy

import varpro
from varpro.errors import ConfigError
from varpro.models import Kinetics

T = np.linspace(0.0, 10.0, 200)
SEQUENCE = [("A", "B"), ("B", "C"), ("C", None)]


def matrix(model, rates):
    out = np.zeros((len(model.species),) * 2)
    for (begin, end), k in zip(model.steps, rates, strict=True):
        i = model.species.index(begin)
        out[i, i] -= k
        if end is not None:
            out[model.species.index(end), i] += k
    return out


@pytest.mark.parametrize(
    ("steps", "rates"),
    [
        (SEQUENCE, [2.0, 0.7, 0.2]),
        ([("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")], [1.0, 0.4, 0.7, 0.2]),
        ([("A", "B"), ("B", "A"), ("B", None)], [1.0, 0.5, 0.3]),
        ([("A", "B"), ("B", "C"), ("C", "A")], [1.0, 1.1, 0.9]),  # a cycle rings: complex eigenvalues
        ([("A", "B"), ("B", "C"), ("C", None)], [1.0, 1.0, 1.0]),  # no basis of eigenvectors
        ([("A", "B"), ("B", None)], [1.0, 1.0 + 1e-7]),
        ([("A", "B")], [0.0]),
    ],
)
def test_concentrations_are_those_of_the_exponential_of_the_matrix(steps, rates):
    model = Kinetics(steps)
    first = np.eye(len(model.species))[0]
    expected = np.stack([scipy.linalg.expm(matrix(model, rates) * x) @ first for x in T])
    np.testing.assert_allclose(model(T, np.array(rates)), expected, atol=1e-11)


def test_a_sequence_is_the_textbook_one():
    """B between A and the ground state: k_1 / (k_2 - k_1) (exp(-k_1 t) - exp(-k_2 t))."""
    phi = Kinetics([("A", "B"), ("B", None)])(T, np.array([2.0, 0.5]))
    np.testing.assert_allclose(phi[:, 0], np.exp(-2 * T), atol=1e-14)
    np.testing.assert_allclose(phi[:, 1], 2.0 / -1.5 * (np.exp(-2 * T) - np.exp(-0.5 * T)), atol=1e-14)


def test_nothing_is_lost_without_a_ground_state():
    phi = Kinetics([("A", "B"), ("B", "C"), ("C", "A")], {"A": 1.0, "C": 2.0})(T, np.array([1.0, 2.0, 0.3]))
    np.testing.assert_allclose(phi.sum(axis=1), 3.0, rtol=1e-12)
    assert (phi > -1e-12).all()


def test_spectra_and_rates_of_a_sequence_come_back():
    model, rng = Kinetics(SEQUENCE), np.random.default_rng(0)
    truth, spectra = np.array([2.0, 0.7, 0.2]), np.abs(rng.standard_normal((3, 20)))
    y = model(T, truth) @ spectra + 0.01 * rng.standard_normal((200, 20))
    fit = varpro.fit(model, T, y, w0=[3.0, 1.0, 0.1])
    assert fit.names == ("k_A_B", "k_B_C", "k_C")
    assert fit.linear_names == ("A", "B", "C")
    np.testing.assert_allclose(fit.nonlinear, truth, atol=4 * fit.stderr_nonlinear.max())
    np.testing.assert_allclose(fit.linear, spectra, atol=0.1)


def test_an_equilibrium_with_a_known_constant_is_tied():
    model = Kinetics([("A", "B"), ("B", "A"), ("B", None)])
    y = model(T, np.array([1.0, 0.5, 0.3])) @ np.array([[1.0, 0.2], [0.3, 1.5]])
    fit = varpro.fit(model, T, y, w0=[0.8, 0.4, 0.2], tied={"k_B_A": "k_A_B / 2"})
    np.testing.assert_allclose(fit.nonlinear, [1.0, 0.5, 0.3], rtol=1e-6)


def test_what_the_spectra_leave_open_has_no_error_bar():
    """A branch that only scales a spectrum cannot be told from that spectrum."""
    model = Kinetics([("A", "B"), ("A", None), ("B", None)])
    y = model(T, np.array([1.0, 0.3, 0.2])) @ np.array([[1.0, 0.2], [0.3, 1.5]]) + 0.001 * np.cos(40 * T)[:, None]
    fit = varpro.fit(model, T, y, w0=[0.9, 0.4, 0.25])
    assert np.isinf(fit.stderr_nonlinear[:2]).all()
    assert np.isfinite(fit.stderr_nonlinear[2])


def test_rates_stay_at_zero_or_above():
    y = np.stack([np.exp(-T), 1 - np.exp(-T)], axis=1) + 0.01 * np.random.default_rng(0).standard_normal((200, 2))
    fit = varpro.fit(Kinetics([("A", "B"), ("B", None)]), T, y, w0=[2.0, 0.5])
    assert (fit.nonlinear >= 0).all()
    assert fit.nonlinear[1] < 0.01


@pytest.mark.parametrize(
    ("steps", "initial", "said"),
    [
        ([], None, "a scheme needs a step"),
        ("A -> B", None, "'A -> B' is no scheme; give its steps"),
        (5, None, "5 is no scheme"),
        ([("A", "B"), "C"], None, "'C' is no step"),
        ([("A",)], None, "is no step; a step is"),
        ([("A", "A")], None, "leads to itself"),
        ([("A", 3)], None, "leads to 3"),
        ([("A", "B"), ("A", "B")], None, "the step A -> B is listed twice"),
        ([("A", "B")], {"Z": 1.0}, "initial names 'Z', which is no species; there are A, B"),
        ([("A", "B")], {"A": -1.0}, "initial of 'A' is -1.0"),
        ([("A", "B")], {"A": 0.0}, "initial is 0 for every species"),
        ([("A", "B"), ("C", None)], None, "nothing ever becomes 'C'"),
    ],
)
def test_what_is_no_scheme_is_told_in_one_line(steps, initial, said):
    with pytest.raises(ConfigError, match=said) as error:
        Kinetics(steps, initial)
    assert "\n" not in str(error.value)
