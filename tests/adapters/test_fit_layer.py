"""The differentiable fit: its gradients against differences of whole fits, at any residual."""

import numpy as np
import pytest

import varpro
from varpro.errors import ConfigError, ShapeError

torch = pytest.importorskip("torch", reason="torch is not installed")

from varpro.adapters.torch import fit_layer  # noqa: E402

torch.set_num_threads(1)
T = torch.linspace(0.0, 6.0, 25, dtype=torch.float64)
W0 = torch.tensor([0.8, 3.5], dtype=torch.float64)


def decays(t, w):
    return torch.stack([torch.exp(-t / w[0]), torch.exp(-t / w[1])], dim=-1)


def response(t, w, c):
    """A decay with a known width of the response in c."""
    decay = torch.exp(-torch.sqrt(t**2 + c[0] ** 2) / w[0])
    return torch.stack([decay, decay * t * c[1]], dim=-1)


def data(residual=0.15, k=None, seed=2):
    """Decays with a large residual, so that the second term of the Hessian counts."""
    rng = np.random.default_rng(seed)
    y = decays(T, torch.tensor([1.0, 3.0], dtype=torch.float64)) @ torch.tensor([4.0, 2.0], dtype=torch.float64)
    y = y if k is None else y[:, None] * torch.arange(1.0, k + 1, dtype=torch.float64)
    return y + residual * torch.as_tensor(rng.standard_normal(y.shape))


@pytest.mark.parametrize("residual", [0.0, 0.05, 0.15])
def test_gradients_by_the_data_are_those_of_differences(residual):
    y = data(residual).requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda y: fit_layer(decays, T, y, W0), (y,), eps=1e-5, atol=1e-5, rtol=1e-4, fast_mode=True
    )


def test_gradients_by_weights_and_constants_are_those_of_differences():
    rng = np.random.default_rng(1)
    v = torch.as_tensor(rng.uniform(0.5, 2.0, 25)).requires_grad_(True)
    c = torch.tensor([0.4, 0.7], dtype=torch.float64, requires_grad=True)
    y = data(0.1).requires_grad_(True)

    def layer(y, v, c):
        return fit_layer(response, T, y, W0[1:], weights=v, constants=c)

    assert torch.autograd.gradcheck(layer, (y, v, c), eps=1e-5, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_a_batch_with_several_right_hand_sides_and_a_ridge():
    y = torch.stack([data(0.05, 2, seed) for seed in range(3)]).requires_grad_(True)
    w, a = fit_layer(decays, T, y, W0.expand(3, 2), ridge=0.1)
    assert w.shape == (3, 2)
    assert a.shape == (3, 2, 2)
    assert torch.autograd.gradcheck(
        lambda y: fit_layer(decays, T, y, W0.expand(3, 2), ridge=0.1),
        (y,),
        eps=1e-5,
        atol=1e-5,
        rtol=1e-4,
        fast_mode=True,
    )
    (grad,) = torch.autograd.grad(w[1].sum(), y)
    assert (grad[1] != 0).any()
    assert (grad[[0, 2]] == 0).all()


def test_the_solution_is_that_of_a_fit():
    y = data(0.1)
    w, a = fit_layer(decays, T, y, W0)
    fit = varpro.fit(lambda t, w: decays(T, torch.as_tensor(w)).numpy(), T.numpy(), y.numpy(), W0.numpy())
    np.testing.assert_allclose(w.numpy(), fit.nonlinear, rtol=1e-6)
    np.testing.assert_allclose(a.numpy(), fit.linear, rtol=1e-6)


def test_the_gradient_of_the_amplitudes_at_known_w_is_the_pseudo_inverse():
    """Where w hardly moves, dA/dy is Phi^+ of the enlarged model: rows of (J^T J)^-1 J^T for a residual of 0."""
    y = data(0.0).requires_grad_(True)
    w, a = fit_layer(decays, T, y, W0)
    (grad,) = torch.autograd.grad(a[0], y)
    slopes = torch.func.jacfwd(lambda u: decays(T, u) @ a.detach())(w.detach())
    whole = torch.linalg.pinv(torch.cat([slopes, decays(T, w.detach())], dim=1))
    np.testing.assert_allclose(grad.numpy(), whole[2].numpy(), rtol=1e-5, atol=1e-7)


def test_a_parameter_on_its_bound_does_not_move():
    y = data(0.05).requires_grad_(True)
    w, _ = fit_layer(decays, T, y, W0, bounds=([0.0, 3.4], [5.0, 9.0]))
    assert w[1] == 3.4
    (on_bound,) = torch.autograd.grad(w[1], y, retain_graph=True)
    (other,) = torch.autograd.grad(w[0], y)
    assert (on_bound == 0).all()
    assert (other != 0).any()


def test_single_precision_in_and_out():
    y = data(0.05).float().requires_grad_(True)
    w, a = fit_layer(decays, T.float(), y, W0.float())
    assert w.dtype == a.dtype == torch.float32
    w.sum().backward()
    assert y.grad.dtype == torch.float32


def test_a_constant_is_learnt_through_the_fit():
    """The width of the response is found from a lifetime that is known, by gradient descent through the layer."""
    truth = torch.tensor([0.6, 0.7], dtype=torch.float64)
    y = response(T, torch.tensor([2.0], dtype=torch.float64), truth) @ torch.tensor([3.0, 1.0], dtype=torch.float64)
    c = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)

    def misfit():
        w, a = fit_layer(response, T, y, W0[1:], constants=c)
        return ((y - response(T, w, c) @ a) ** 2).sum()

    optimiser = torch.optim.LBFGS([c], max_iter=10, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def closure():
        optimiser.zero_grad()
        loss = misfit()
        loss.backward()
        return loss

    first = float(misfit().detach())
    optimiser.step(closure)
    assert float(misfit().detach()) < 1e-3 * first
    assert c[0].abs().item() == pytest.approx(0.6, abs=0.05)


def test_a_search_that_does_not_converge_is_told_or_nan():
    y = data(0.05).requires_grad_(True)
    with pytest.raises(ConfigError, match="a fit of the layer did not converge: The limit on iterations"):
        fit_layer(decays, T, y, W0, max_iterations=1)
    w, _ = fit_layer(decays, T, y, W0, max_iterations=1, strict=False)
    assert torch.isnan(w).all()
    w.sum().backward()
    assert torch.isnan(y.grad).all()


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"y": data()[:9]}, ShapeError, "t has 25 points, y has 9"),
        ({"w0": W0.expand(3, 2)}, ShapeError, r"y has shape \(25,\); with w0 of \(3, 2\) it needs"),
        ({"weights": torch.ones(7, dtype=torch.float64)}, ShapeError, r"weights have shape \(7,\)"),
        ({"loss": "huber"}, TypeError, "fit_layer takes no loss"),
    ],
)
def test_mistakes_are_told_in_one_line(change, kind, said):
    given = {"t": T, "y": data(), "w0": W0, **change}
    with pytest.raises(kind, match=said) as error:
        fit_layer(decays, **given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["nan", "weight 0", "nan of weight 0", "nan weight"])
def test_a_value_that_is_left_out_has_no_effect_and_no_gradient(how):
    y, v, kept = data(), torch.ones(25, dtype=torch.float64), torch.arange(25) != 3
    y[3] = 50.0 if how in ("weight 0", "nan weight") else torch.nan
    v[3] = {"nan": 1.0, "nan weight": torch.nan}.get(how, 0.0)
    y, v = y.requires_grad_(True), v.requires_grad_(True)
    w, a = fit_layer(decays, T, y, W0, weights=v)
    (w.sum() + a.sum()).backward()
    short = data()[kept].requires_grad_(True)
    w2, a2 = fit_layer(decays, T[kept], short, W0)
    (w2.sum() + a2.sum()).backward()
    torch.testing.assert_close(w, w2, rtol=1e-10, atol=0.0)
    torch.testing.assert_close(y.grad[kept], short.grad, rtol=1e-8, atol=1e-10)
    assert y.grad[3] == v.grad[3] == 0


def test_a_problem_without_values_is_nan_and_ends_no_batch():
    y = torch.stack([data(), torch.full((25,), torch.nan, dtype=torch.float64)])
    w, a = fit_layer(decays, T, y, W0.expand(2, -1), strict=False)
    torch.testing.assert_close(w[0], fit_layer(decays, T, y[0], W0)[0])
    assert w[1].isnan().all()
    assert a[1].isnan().all()


def test_whole_numbers_are_fitted_as_numbers():
    y = (1000 * data()).round().long()
    w, a = fit_layer(decays, T, y, W0)
    expected = fit_layer(decays, T, y.double(), W0)
    assert w.dtype == a.dtype == torch.float64
    torch.testing.assert_close((w, a), expected)


def test_complex_data_are_refused():
    with pytest.raises(ShapeError, match="y is complex; a layer fits real data"):
        fit_layer(decays, T, torch.complex(data(), data()), W0)


def test_arrays_lists_and_numbers_are_taken():
    expected = fit_layer(decays, T, data(), W0)
    torch.testing.assert_close(fit_layer(decays, T.numpy(), data().numpy(), W0.tolist()), expected)

    def one(t, w):
        return torch.exp(-t / w[0])[:, None]

    assert fit_layer(one, T, data(), torch.tensor(1.0))[0].shape == (1,)
