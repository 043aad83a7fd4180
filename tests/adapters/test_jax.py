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
