"""The differentiable fit of JAX: its gradients against differences of whole fits, and against PyTorch's."""

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError, ShapeError

jax = pytest.importorskip("jax", reason="jax is not installed")
jnp = jax.numpy

from varpro.adapters.jax import fit_layer  # noqa: E402

T = np.linspace(0.0, 6.0, 25)
W0 = np.array([0.8, 3.5])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def decays(t, w):
    return jnp.stack([jnp.exp(-t / w[0]), jnp.exp(-t / w[1])], axis=-1)


def response(t, w, c):
    """A decay with a known width of the response in c."""
    decay = jnp.exp(-jnp.sqrt(t**2 + c[0] ** 2) / w[0])
    return jnp.stack([decay, decay * t * c[1]], axis=-1)


def data(residual, k=None, seed=2):
    """Decays with a large residual, so that the second term of the Hessian counts."""
    rng = np.random.default_rng(seed)
    y = np.stack([np.exp(-T), np.exp(-T / 3.0)], axis=-1) @ [4.0, 2.0]
    y = y if k is None else y[:, None] * np.arange(1.0, k + 1)
    return y + residual * rng.standard_normal(y.shape)


def along(function, x, direction, step=1e-5):
    """The derivative of a function of an array along a direction, by differences."""
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


def check(function, x, seed=5, rtol=1e-4):
    """The gradient of a scalar function against differences in three directions."""
    gradient, rng = np.asarray(jax.grad(function)(x)), np.random.default_rng(seed)
    for _ in range(3):
        direction = rng.standard_normal(np.shape(x))
        expected = float(along(function, x, direction))
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=rtol, abs=1e-6)


@pytest.mark.parametrize("residual", [0.0, 0.15])
def test_gradients_by_the_data_are_those_of_differences(residual):
    def scalar(y):
        w, a = fit_layer(decays, T, y, W0)
        return w[0] + 2 * w[1] ** 2 + 3 * a[0] - a[1]

    check(scalar, data(residual))


def test_gradients_by_weights_and_constants_are_those_of_differences():
    v, c = np.random.default_rng(1).uniform(0.5, 2.0, 25), np.array([0.4, 0.7])
    y = data(0.1)
    check(lambda v: fit_layer(response, T, y, W0[1:], weights=v, constants=c)[0][0], v)
    check(lambda c: jnp.sum(fit_layer(response, T, y, W0[1:], weights=v, constants=c)[1]), c)


def test_a_batch_with_several_right_hand_sides_and_a_ridge():
    y = np.stack([data(0.05, 2, seed) for seed in range(3)])
    starts = np.tile(W0, (3, 1))
    w, a = fit_layer(decays, T, y, starts, ridge=0.1)
    assert w.shape == (3, 2)
    assert a.shape == (3, 2, 2)

    def scalar(y):
        w, a = fit_layer(decays, T, y, starts, ridge=0.1)
        return jnp.sum(w[1]) + jnp.sum(a[1] ** 2)

    check(scalar, y)
    gradient = np.asarray(jax.grad(scalar)(y))
    assert (gradient[[0, 2]] == 0).all()
    jacobian = jax.jacrev(lambda y: fit_layer(decays, T, y, starts, ridge=0.1)[0])(y)
    np.testing.assert_allclose(jacobian[1].sum(axis=0)[1],
                               jax.grad(lambda y: jnp.sum(fit_layer(decays, T, y, starts, ridge=0.1)[0][1]))(y)[1],
                               rtol=1e-10)  # fmt: skip


def test_the_solution_is_that_of_a_fit_and_a_parameter_on_its_bound_does_not_move():
    y = data(0.05)
    w, a = fit_layer(decays, T, y, W0)
    fit = varpro.fit(lambda t, w: np.stack([np.exp(-t / w[0]), np.exp(-t / w[1])], axis=-1), T, y, W0)
    np.testing.assert_allclose(w, fit.nonlinear, rtol=1e-6)
    np.testing.assert_allclose(a, fit.linear, rtol=1e-6)
    bounds = ([0.0, 3.4], [5.0, 9.0])
    on_bound, other = jax.jacrev(lambda y: fit_layer(decays, T, y, W0, bounds=bounds)[0])(y)[::-1]
    assert (on_bound == 0).all()
    assert (other != 0).any()


def test_its_gradients_are_those_of_pytorch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from varpro.adapters.torch import fit_layer as torch_layer

    y = torch.tensor(data(0.1), requires_grad=True)
    w, _ = torch_layer(lambda t, w: torch.stack([torch.exp(-t / w[0]), torch.exp(-t / w[1])], dim=-1),
                       torch.tensor(T), y, torch.tensor(W0))  # fmt: skip
    (expected,) = torch.autograd.grad(w[0] * w[1], y)
    gradient = jax.grad(lambda y: jnp.prod(fit_layer(decays, T, y, W0)[0]))(data(0.1))
    np.testing.assert_allclose(gradient, expected.numpy(), rtol=1e-7, atol=1e-9)


def test_single_precision_in_and_out():
    exact = jax.grad(lambda y: fit_layer(decays, T, y, W0)[0][0])(data(0.05))
    with jax.enable_x64(False):
        y = jnp.asarray(data(0.05), dtype=jnp.float32)
        w, a = fit_layer(decays, T, y, W0)
        gradient = jax.grad(lambda y: fit_layer(decays, T, y, W0)[0][0])(y)
    assert w.dtype == a.dtype == gradient.dtype == jnp.float32
    np.testing.assert_allclose(gradient, exact, atol=1e-3 * np.abs(exact).max())


def test_a_search_that_does_not_converge_is_told_or_nan():
    y = data(0.05)
    with pytest.raises(ConfigError, match="a fit of the layer did not converge: The limit on iterations"):
        fit_layer(decays, T, y, W0, max_iterations=1)
    lost = jax.grad(lambda y: fit_layer(decays, T, y, W0, max_iterations=1, strict=False)[0][0])(y)
    assert np.isnan(lost).all()


@pytest.mark.parametrize("change", [jax.jit, lambda f: jax.vmap(f)])
def test_inside_of_jit_or_vmap_it_says_what_to_do(change):
    with pytest.raises(ConfigError, match=r"call it outside of jax\.jit and jax\.vmap"):
        change(lambda y: fit_layer(decays, T, y, W0)[0])(np.stack([data(0.0)] * 2)[0 if change is jax.jit else ...])


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"y": data(0.1)[:9]}, ShapeError, "t has 25 points, y has 9"),
        ({"w0": np.tile(W0, (3, 1))}, ShapeError, r"y has shape \(25,\); with w0 of \(3, 2\) it needs"),
        ({"weights": np.ones(7)}, ShapeError, r"weights have shape \(7,\)"),
        ({"loss": "huber"}, TypeError, "fit_layer takes no loss"),
    ],
)
def test_mistakes_are_told_in_one_line(change, kind, said):
    given = {"t": T, "y": data(0.1), "w0": W0, **change}
    with pytest.raises(kind, match=said) as error:
        fit_layer(decays, **given)
    assert "\n" not in str(error.value)


def test_a_value_that_is_left_out_has_no_effect_and_no_gradient():
    y, kept = data(0.1), np.arange(25) != 3
    lacking = np.where(kept, y, np.nan)

    def total(y):
        return sum(part.sum() for part in fit_layer(decays, T, y, W0))

    def total_of_kept(y):
        return sum(part.sum() for part in fit_layer(decays, T[kept], y, W0))

    found = jax.grad(total)(jnp.asarray(lacking))
    np.testing.assert_allclose(found[kept], jax.grad(total_of_kept)(jnp.asarray(y[kept])), rtol=1e-7, atol=1e-9)
    assert found[3] == 0


def test_whole_numbers_are_fitted_as_numbers_and_complex_ones_refused():
    y = np.round(1000 * data(0.1)).astype(int)
    for one, other in zip(fit_layer(decays, T, y, W0), fit_layer(decays, T, y.astype(float), W0), strict=True):
        np.testing.assert_allclose(one, other)
    with pytest.raises(ShapeError, match="y is complex"):
        fit_layer(decays, T, y + 1j, W0)


def parts(results):
    return np.concatenate([np.ravel(part) for part in results])


def close(found, expected, rtol=1e-7):
    """Beside the largest of their numbers, which are of one kind."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=rtol * np.abs(expected).max())


def test_each_problem_of_a_batch_misses_its_own_values():
    """The same as one after another, in value and gradient, also by the weights."""
    rng, starts = np.random.default_rng(8), np.tile(W0, (3, 1))
    y = np.stack([data(0.05, None, seed) for seed in range(3)])
    y[rng.random(y.shape) < 0.2] = np.nan
    v = rng.uniform(0.5, 2.0, y.shape)

    def total(y, v, starts=W0):
        return sum(part.sum() for part in fit_layer(decays, T, y, starts, weights=v))

    together = jax.grad(total, argnums=(0, 1))(y, v, starts)
    for b in range(3):
        for whole, alone in zip(together, jax.grad(total, argnums=(0, 1))(y[b], v[b]), strict=True):
            close(whole[b], alone)
            assert (np.asarray(whole)[np.isnan(y)] == 0).all()


@pytest.mark.parametrize("kind", ["empty", "short", "infinite"])
def test_a_problem_that_cannot_be_fitted_ends_no_batch_and_spoils_no_gradient(kind):
    """The constants are shared, so that a NaN of the lost problem would be one of their whole gradient."""
    bad, c = data(0.1), np.array([0.4, 0.7])
    bad[{"empty": slice(None), "short": slice(2, None), "infinite": 4}[kind]] = np.inf if kind == "infinite" else np.nan
    y, starts = np.stack([data(0.1), bad]), np.tile(W0[1:], (2, 1))

    def batch(c):
        return fit_layer(response, T, y, starts, constants=c, strict=False)[0]

    def alone(c):
        return fit_layer(response, T, y[0], W0[1:], constants=c)[0].sum()

    assert np.isnan(batch(c)).ravel().tolist() == [False, True]
    close(jax.grad(lambda c: batch(c)[0].sum())(c), jax.grad(alone)(c))
    assert np.isnan(jax.grad(lambda c: batch(c).sum())(c)).all()
    with pytest.raises(ValueError, match=r"no value to fit|valid values for|infinite value"):
        fit_layer(response, T, y, starts, constants=c)


def test_a_row_that_is_left_out_may_be_one_where_the_model_is_not_finite():
    def powers(t, w):
        return jnp.stack([jnp.exp(-t / w[0]), t ** w[1]], axis=-1)

    kept, start, y = np.arange(25) != 3, [1.0, 0.3], data(0.1)
    t, v = np.where(kept, T + 0.1, np.nan), kept.astype(float)
    left_out, short = fit_layer(powers, t, y, start, weights=v), fit_layer(powers, t[kept], y[kept], start)
    close(parts(left_out), parts(short))
    found = jax.grad(lambda y: fit_layer(powers, t, y, start, weights=v)[0].sum())(y)
    close(found[kept], jax.grad(lambda y: fit_layer(powers, t[kept], y, start)[0].sum())(y[kept]))
    assert found[3] == 0


def test_derivatives_that_are_nan_are_told():
    def stretched(t, w):
        return jnp.exp(-((t / w[0]) ** w[1]))[:, None]

    def bent(t, w):  # at t = 0 the first derivative is 0, the second infinity times 0
        return jnp.exp(-((t * w[0]) ** 1.5))[:, None]

    with pytest.raises(ConfigError, match=r"by w\[0\] is nan at t = 0\.0"):
        fit_layer(stretched, T, data(0.1), [1.0, 0.7])
    assert np.isfinite(fit_layer(bent, T, data(0.1), W0[:1])[0]).all()
    with pytest.raises(ConfigError, match="derivatives of the model are not finite at w = "):
        jax.grad(lambda y: fit_layer(bent, T, y, W0[:1])[0].sum())(data(0.1))


def test_a_start_that_is_differentiated_has_the_gradient_0():
    assert (jax.grad(lambda w0: fit_layer(decays, T, data(0.1), w0)[0].sum())(W0) == 0).all()


def test_times_keep_their_digits_in_single_precision():
    """They have no gradient, so that they need not pass through JAX, which would round them to 32 bits."""

    def late(t, w):
        return decays(t - 1e9, w)

    with jax.enable_x64(False):
        y = jnp.asarray(data(0.1), dtype=jnp.float32)
        close(parts(fit_layer(late, T + 1e9, y, W0)), parts(fit_layer(decays, T, y, W0)), 1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"w0": W0[None, None]}, r"w0 \(1, 1, 2\), which needs \(P,\) or \(B, P\)"),
        ({"y": "text"}, "y is str, not an array"),
        ({"w0": ["a", "b"]}, "w0 is list, not an array"),
        ({"weights": np.ones(25) + 1j}, "weights is complex"),
        ({"w0": W0 + 1j}, "w0 is complex"),
        ({"model": lambda t, w: decays(t, w)[:, 0]}, r"the model returned float64 \(25,\)"),
        ({"model": lambda t, w: decays(t, w) + 0j}, "the model returned complex128"),
    ],
)
def test_what_is_no_real_array_is_told_in_one_line(change, said):
    with pytest.raises(ShapeError, match=said) as error:
        fit_layer(**{"model": decays, "t": T, "y": data(0.1), "w0": W0, **change})
    assert "\n" not in str(error.value)
