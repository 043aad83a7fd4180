"""Complex data and complex parameters: the exact real split, the derivative of large residuals, statistics."""

import numpy as np
import pytest

import varpro
from tests.fit.problems import central_differences, decay_data, decays
from varpro.fitting import form


def waves(t, w):
    return np.exp(np.multiply.outer(t, w))


def wave_columns(t, w):
    return t[:, None] * waves(t, w)


WAVES = (np.array([[0, 0], [1, 1]]), wave_columns)
OMEGA = np.array([-0.2 + 3.0j, -0.7 - 1.1j])


def wave_data(noise=0.05, n=50, right=None, seed=0):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 4, n)
    a = np.array([1.5 - 0.5j, 0.8 + 2j])
    clean = waves(t, OMEGA) @ (a if right is None else a[:, None] * rng.uniform(0.5, 2, (2, right)))
    return t, clean + noise * (rng.standard_normal(clean.shape) + 1j * rng.standard_normal(clean.shape))


def test_real_parameters_of_complex_data_are_those_of_the_split_problem():
    t, y = decay_data()
    y = y * (0.6 + 0.8j) + 0.02j * np.random.default_rng(1).standard_normal(len(t))
    fit = varpro.fit(decays, t, y, [2.0, 6.5])
    split = varpro.fit(decays, t, np.stack([y.real, y.imag], axis=1), [2.0, 6.5])  # a real model: two right-hand sides
    np.testing.assert_allclose(fit.nonlinear, split.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(fit.linear, split.linear[:, 0] + 1j * split.linear[:, 1], rtol=1e-7)
    assert fit.rss == pytest.approx(split.rss, rel=1e-11)
    assert fit.dof == split.dof == 2 * 61 - 2 - 6
    np.testing.assert_allclose(fit.stderr_nonlinear, split.stderr_nonlinear, rtol=1e-7)
    np.testing.assert_allclose(fit.stderr_linear.real, split.stderr_linear[:, 0], rtol=1e-6)
    np.testing.assert_allclose(fit.stderr_linear.imag, split.stderr_linear[:, 1], rtol=1e-6)


@pytest.mark.parametrize("derivative", [None, "differences", WAVES], ids=["found", "differences", "analytic"])
@pytest.mark.parametrize("jacobian", ["golub-pereyra", "kaufman"])
def test_complex_parameters_are_found(derivative, jacobian):
    t, y = wave_data()
    fit = varpro.fit(waves, t, y, OMEGA + 0.1 - 0.1j, derivative=derivative, jacobian=jacobian)
    assert fit.success
    assert fit.derivative == ("analytic" if isinstance(derivative, tuple) else "differences")
    assert fit.nonlinear.dtype == complex
    off = fit.nonlinear - OMEGA
    assert (np.abs(off.real) < 5 * fit.stderr_nonlinear.real).all()
    assert (np.abs(off.imag) < 5 * fit.stderr_nonlinear.imag).all()
    assert fit.names == ("w_0.real", "w_1.real", "w_0.imag", "w_1.imag")
    assert fit.dof == 100 - 4 - 4


def test_complex_statistics_are_those_of_the_real_split():
    t, y = wave_data(right=2)
    fit = varpro.fit(waves, t, y, OMEGA, derivative=WAVES)
    shape = fit.linear.shape

    def curve(x):
        w, a = x[:2] + 1j * x[2:4], (x[4:8] + 1j * x[8:]).reshape(shape)
        z = waves(t, w) @ a
        return np.concatenate([z.real.ravel(), z.imag.ravel()])

    at = np.concatenate([fit.nonlinear.real, fit.nonlinear.imag, fit.linear.real.ravel(), fit.linear.imag.ravel()])
    jacobian = central_differences(curve, at, 1e-5)
    expected = fit.sigma**2 * np.linalg.inv(jacobian.T @ jacobian)
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(fit.covariance / np.outer(size, size), expected / np.outer(size, size), atol=1e-6)
    errors = [fit.stderr_nonlinear.real, fit.stderr_nonlinear.imag]
    errors += [fit.stderr_linear.real.ravel(), fit.stderr_linear.imag.ravel()]
    np.testing.assert_allclose(np.concatenate(errors), size, rtol=1e-6)


@pytest.mark.parametrize("right", [1, 3])
def test_e3_the_real_split_of_complex_parameters(monkeypatch, right):
    """d/dRe = a + b, d/dIm = i (a - b): with the residual large, i (a + b) would be wrong by its own size.

    The general form's H and g against differences of the residual of the functional, all in real numbers.
    """
    monkeypatch.setattr(form, "SMALL_COLUMNS", 0)
    t, y = wave_data(noise=3.0, right=right)
    f = varpro.functional(waves, t, y, OMEGA, derivative=WAVES)
    assert f._spec.problem.kind == "general"
    at = np.array([-0.3, -0.5, 2.8, -1.3])
    jacobian = central_differences(f.residual, at)
    assert np.sum(f.residual(at) ** 2) > 0.3 * np.sum(np.abs(y) ** 2)
    size = np.abs(jacobian).max()
    np.testing.assert_allclose(f.jacobian(at), jacobian, atol=1e-8 * size)  # differences: 1e-6 squared, and eps / 1e-6
    current = f._spec.problem.evaluate(at[None], np.zeros(1, dtype=int))
    model = f._spec.problem.linearise(current)
    h = np.tril(model.h[0]) + np.tril(model.h[0], -1).T
    expected = jacobian.T @ jacobian
    np.testing.assert_allclose(h, expected, atol=1e-7 * np.abs(expected).max())
    np.testing.assert_allclose(model.gradient[0], jacobian.T @ f.residual(at), atol=1e-7 * size * np.abs(y).sum())


def test_weights_masks_and_missing_complex_values():
    t, y = wave_data(n=40)
    use = np.arange(40) % 6 != 2
    short = varpro.fit(waves, t[use], y[use], OMEGA, derivative=WAVES)
    nan = np.where(use, y, np.nan)
    half = np.where(use, y, complex(np.nan, 1.0))  # one part missing is a value missing
    for other in (nan, half):
        fit = varpro.fit(waves, t, other, OMEGA, derivative=WAVES)
        np.testing.assert_allclose(fit.nonlinear, short.nonlinear, rtol=1e-8)
        assert fit.dof == short.dof
    weights = np.where(np.arange(40) % 2, 2.0, 1.0)
    rows = np.repeat(np.arange(40), (weights**2).astype(int))
    weighted = varpro.fit(waves, t, y, OMEGA, derivative=WAVES, weights=weights)
    repeated = varpro.fit(waves, t[rows], y[rows], OMEGA, derivative=WAVES)
    np.testing.assert_allclose(weighted.nonlinear, repeated.nonlinear, rtol=1e-8)
    np.testing.assert_allclose(weighted.rss, repeated.rss, rtol=1e-10)


def test_ridge_fixed_and_bounds_act_on_the_parts():
    t, y = wave_data()
    fit = varpro.fit(waves, t, y, OMEGA, names=["a", "b"], fixed={"b.imag": -1.1})
    assert fit.nonlinear[1].imag == -1.1
    assert fit.stderr_nonlinear[1].imag == 0
    start = np.array([-0.05 + 3.0j, -0.7 - 1.1j])
    boxed = varpro.fit(waves, t, y, start, names=["a", "b"], bounds={"a.real": (-0.1, 0.0)})
    assert boxed.nonlinear[0].real == -0.1
    mu = 2.5
    ridge = varpro.fit(waves, t, y, OMEGA, ridge=mu)
    rows = np.linalg.solve(
        waves(t, ridge.nonlinear).conj().T @ waves(t, ridge.nonlinear) + mu * np.eye(2),
        waves(t, ridge.nonlinear).conj().T @ y,
    )
    np.testing.assert_allclose(ridge.linear, rows, rtol=1e-10)


def test_a_batch_of_complex_problems_is_one_by_one():
    t, _ = wave_data()
    y = np.stack([wave_data(seed=s)[1] for s in range(5)])
    many = varpro.fit_batch(waves, t, y, OMEGA, derivative=WAVES)
    for b in range(5):
        alone = varpro.fit(waves, t, y[b], OMEGA, derivative=WAVES)
        np.testing.assert_allclose(many.nonlinear[b], alone.nonlinear, rtol=1e-6)
        np.testing.assert_allclose(many[b].stderr_nonlinear, alone.stderr_nonlinear, rtol=1e-5)
        np.testing.assert_allclose(many[b].linear, alone.linear, rtol=1e-5)


def test_the_table_shows_complex_numbers():
    t, y = wave_data()
    text = str(varpro.fit(waves, t, y, OMEGA, names=["p", "q"]))
    for name in ("p.real", "q.imag", "a_0", "a_1"):
        assert name in text
    assert "j" in text.split("a_0")[1].splitlines()[0]
