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


def close(found, expected, rtol=1e-7):
    """Beside the largest of their numbers, which are of one kind."""
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0.0, atol=rtol * scale)


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


def test_as_many_values_as_parameters_have_gradients():
    """Without degrees of freedom no standard error is a number, which does not mean that a bound holds it."""
    few = [0, 5, 12, 20]
    y = data(0.0)[few].requires_grad_(True)
    w, a = fit_layer(decays, T[few], y, W0)
    slopes = torch.func.jacfwd(lambda u: decays(T[few], u) @ a.detach())(w.detach())
    whole = torch.linalg.inv(torch.cat([slopes, decays(T[few], w.detach())], dim=1))
    close(torch.autograd.grad(w[1], y)[0], whole[1], 1e-6)


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
        ({"w0": W0[None, None]}, ShapeError, r"w0 \(1, 1, 2\), which needs \(P,\) or \(B, P\)"),
        ({"t": 1.0}, ShapeError, r"t has shape \(\), which needs \(N, \.\.\)"),
        ({"constants": torch.ones(1, 1, 2)}, ShapeError, r"constants \(1, 1, 2\), which need \(C,\)"),
        ({"y": None}, ShapeError, "y is NoneType, not a tensor"),
        ({"w0": ["a", "b"]}, ShapeError, "w0 is list, not a tensor, an array or a list of numbers"),
        ({"weights": torch.ones(25) + 1j}, ShapeError, "weights is complex"),
        ({"model": lambda t, w: decays(t, w)[:7]}, ShapeError, r"the model returned float64 \(7, 2\) for 25 points"),
        ({"model": lambda t, w: decays(t, w)[:, 0]}, ShapeError, r"the model returned float64 \(25,\)"),
        ({"model": lambda t, w: decays(t, w) + 0j}, ShapeError, "the model returned complex128"),
        ({"model": lambda t, w: [t]}, ShapeError, "the model returned list"),
    ],
)
def test_mistakes_are_told_in_one_line(change, kind, said):
    given = {"model": decays, "t": T, "y": data(), "w0": W0, **change}
    with pytest.raises(kind, match=said) as error:
        fit_layer(**given)
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
    close(w, w2, 1e-10)
    close(y.grad[kept], short.grad)
    assert y.grad[3] == v.grad[3] == 0


def test_a_problem_without_values_is_nan_and_ends_no_batch():
    y = torch.stack([data(), torch.full((25,), torch.nan, dtype=torch.float64)])
    w, a = fit_layer(decays, T, y, W0.expand(2, -1), strict=False)
    close(w[0], fit_layer(decays, T, y[0], W0)[0])
    assert w[1].isnan().all()
    assert a[1].isnan().all()


def test_each_problem_of_a_batch_misses_its_own_values():
    """The same as one after another, in value and gradient, also by the weights, with several right-hand sides."""
    rng = np.random.default_rng(8)
    y = torch.stack([data(0.05, 2, seed) for seed in range(3)])
    y[torch.as_tensor(rng.random(y.shape) < 0.2)] = torch.nan
    v = torch.as_tensor(rng.uniform(0.5, 2.0, y.shape))
    y, v, missing = y.requires_grad_(True), v.requires_grad_(True), y.isnan()
    w, a = fit_layer(decays, T, y, W0.expand(3, 2), weights=v)
    together = torch.autograd.grad(w.sum() + a.sum(), (y, v))
    for b in range(3):
        own = fit_layer(decays, T, y[b], W0, weights=v[b])
        alone = torch.autograd.grad(own[0].sum() + own[1].sum(), (y, v))
        close(w[b], own[0])
        close(a[b], own[1])
        for whole, single in zip(together, alone, strict=True):
            close(whole[b], single[b])
            assert (whole[missing] == 0).all()
            assert (whole[~missing] != 0).all()


@pytest.mark.parametrize("kind", ["empty", "short", "infinite"])
def test_a_problem_that_cannot_be_fitted_ends_no_batch_and_spoils_no_gradient(kind):
    """The constants are shared, so that a NaN of the lost problem would be one of their whole gradient."""
    bad = data(0.1).clone()
    bad[{"empty": slice(None), "short": slice(2, None), "infinite": 4}[kind]] = (
        torch.inf if kind[0] == "i" else torch.nan
    )
    y, c = torch.stack([data(0.1), bad]), torch.tensor([0.4, 0.7], dtype=torch.float64, requires_grad=True)
    w, a = fit_layer(response, T, y, W0[1:].expand(2, 1), constants=c, strict=False)
    expected, _ = fit_layer(response, T, y[0], W0[1:], constants=c)
    assert w[1].isnan().all()
    assert a[1].isnan().all()
    close(w[0], expected)
    (found,) = torch.autograd.grad(w[0].sum(), c, retain_graph=True)
    close(found, torch.autograd.grad(expected.sum(), c)[0])
    assert torch.autograd.grad(w.sum(), c)[0].isnan().all()
    with pytest.raises(ValueError, match=r"no value to fit|valid values for|infinite value") as error:
        fit_layer(response, T, y, W0[1:].expand(2, 1), constants=c)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lost", [torch.nan, -1.0])
def test_a_row_that_is_left_out_may_be_one_where_the_model_is_not_finite(lost):
    def powers(t, w):
        return torch.stack([torch.exp(-t / w[0]), t ** w[1]], dim=-1)

    t, kept, v = T + 0.1, torch.arange(25) != 3, torch.ones(25, dtype=torch.float64)
    t[3], v[3] = lost, 0.0
    y = data().requires_grad_(True)
    results = [
        fit_layer(powers, t, y, torch.tensor([1.0, 0.3]), weights=v),
        fit_layer(powers, t[kept], y[kept], torch.tensor([1.0, 0.3])),
    ]
    close(torch.cat(results[0]), torch.cat(results[1]))
    gradients = [torch.autograd.grad(w.sum() + a.sum(), y)[0] for w, a in results]
    close(*gradients)
    assert gradients[0][3] == 0


def test_a_model_without_second_derivatives_is_fitted_and_tells_why_it_has_no_gradient():
    def model(t, w):  # at t = 0 the first derivative is 0, the second infinity times 0
        return torch.exp(-((t * w[0]) ** 1.5))[:, None]

    y = data().requires_grad_(True)
    w, a = fit_layer(model, T, y, W0[:1])
    close(torch.cat([w, a]), torch.cat(fit_layer(model, T + 1e-9, y, W0[:1])), 1e-6)
    with pytest.raises(ConfigError, match=r"derivatives of the model are not finite at w = \["):
        w.sum().backward()
    lost = fit_layer(model, T, y, W0[:1], strict=False)[0]
    assert torch.autograd.grad(lost.sum(), y)[0].isnan().all()


def test_a_derivative_that_is_nan_is_told_with_its_place_which_may_be_left_out():
    def stretched(t, w):  # autograd's derivative of (t / w) ** s at t = 0 is NaN
        return torch.exp(-((t / w[0]) ** w[1]))[:, None]

    start, v = torch.tensor([1.0, 0.7]), torch.ones(25)
    with pytest.raises(ConfigError, match=r"by w\[0\] is nan at t = 0\.0, w0 = .*; write the model") as error:
        fit_layer(stretched, T, data(), start)
    assert "\n" not in str(error.value)
    v[0] = 0.0
    y = data().requires_grad_(True)
    left_out, short = fit_layer(stretched, T, y, start, weights=v), fit_layer(stretched, T[1:], y[1:], start)
    close(torch.cat(left_out), torch.cat(short))
    close(*(torch.autograd.grad(w.sum(), y)[0] for w, _ in (left_out, short)))


def test_whole_numbers_are_fitted_as_numbers():
    y = (1000 * data()).round().long()
    w, a = fit_layer(decays, T, y, W0)
    expected = fit_layer(decays, T, y.double(), W0)
    assert w.dtype == a.dtype == torch.float64
    close(torch.cat([w, a]), torch.cat(expected))


def test_complex_data_are_refused():
    with pytest.raises(ShapeError, match="y is complex; a layer fits real data"):
        fit_layer(decays, T, torch.complex(data(), data()), W0)


def test_arrays_lists_and_numbers_are_taken():
    expected = fit_layer(decays, T, data(), W0)
    close(torch.cat(fit_layer(decays, T.numpy(), data().numpy(), W0.tolist())), torch.cat(expected))

    def one(t, w):
        return torch.exp(-t / w[0])[:, None]

    assert fit_layer(one, T, data(), torch.tensor(1.0))[0].shape == (1,)
