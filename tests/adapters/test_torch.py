"""Modules for PyTorch: their gradients, their agreement with varpro.losses, and training with them."""

import subprocess
import sys

import numpy as np
import pytest

from tests.losses.differences import batch, simplex
from varpro import losses
from varpro.errors import BackendError, ConfigError, DegenerateBatchError, NonFiniteError, ShapeError

torch = pytest.importorskip("torch", reason="torch is not installed")

from varpro.adapters import torch as vt  # noqa: E402
from varpro.adapters.torch.bridge import to_array  # noqa: E402

torch.set_num_threads(1)


def tensors(n, d, c, dtype=torch.float64):
    f, y = batch(n, d, c)
    return torch.tensor(f, dtype=dtype, requires_grad=True), torch.tensor(y)


def matrix(m, n, seed=3):
    return torch.tensor(np.random.default_rng(seed).standard_normal((m, n)), requires_grad=True)


LOSSES = {
    "nullspace ridge": (vt.NullSpaceLoss(), losses.NullSpaceLoss()),
    "nullspace exact": (vt.NullSpaceLoss(mode="exact"), losses.NullSpaceLoss(mode="exact")),
    "nullspace paper": (vt.NullSpaceLoss.paper(), losses.NullSpaceLoss.paper()),
    "variance": (vt.IntraClassVariance(), losses.IntraClassVariance()),
    "variance unbiased": (vt.IntraClassVariance(unbiased=True), losses.IntraClassVariance(unbiased=True)),
    "feedback eliminated": (vt.FeedBackward(eliminate=True), losses.FeedBackward(eliminate=True)),
    "contrastive": (vt.ContrastiveLoss(3.0), losses.ContrastiveLoss(3.0)),
    "head": (vt.VarproHead(3), losses.EliminatedLinear(3)),
    "head signed": (vt.VarproHead(3, 0.1, targets="signed"), losses.EliminatedLinear(3, 0.1, "signed")),
}


@pytest.mark.parametrize(("module", "loss"), LOSSES.values(), ids=LOSSES)
def test_losses_of_features(module, loss):
    f, y = tensors(8, 9, 3)
    value = module(f, y)
    result = loss(f.detach().numpy(), y.numpy())
    assert value.ndim == 0
    assert value.item() == result.value
    (3 * value).backward()
    np.testing.assert_array_equal(f.grad.numpy(), 3 * result.gradient)
    assert module.info.keys() == result.info.keys()
    assert torch.autograd.gradcheck(lambda x: module(x, y), f)
    stacked = torch.stack([f, 2 * f]).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: module(x, torch.stack([y, y])), stacked, fast_mode=True)
    single = module(f.detach().float().requires_grad_(), y.numpy())
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(result.value, rel=1e-4)


@pytest.mark.parametrize("mode", ["learned", "proximal", "ema"])
def test_variance_around_centroids(mode):
    f, y = tensors(8, 4, 3)
    module = vt.IntraClassVariance(3, 4, mode=mode).double()
    loss, start = losses.IntraClassVariance(mode=mode), module.C.detach().numpy().copy()
    value = module(f, y)
    result = loss(f.detach().numpy(), y.numpy(), C=start)
    assert value.item() == result.value
    value.backward()
    assert [name for name, _ in module.named_parameters()] == (["C"] if mode == "learned" else [])
    assert "C" in module.state_dict()
    if mode == "learned":
        np.testing.assert_array_equal(module.C.grad.numpy(), result.gradient["C"])
        assert torch.autograd.gradcheck(lambda x, c: vt.objective(loss, x, y, C=c)[0], (f, matrix(3, 4)))
        stacked, two = torch.stack([f, -f]).detach().requires_grad_(), torch.stack([y, y])
        assert torch.autograd.gradcheck(lambda x, c: vt.objective(loss, x, two, C=c)[0], (stacked, matrix(3, 4)))
        return
    np.testing.assert_array_equal(f.grad.numpy(), result.gradient)
    np.testing.assert_array_equal(module.C.numpy(), result.info["C"])
    with pytest.raises(ShapeError, match="one at a time"):
        module(f[None], y[None])
    module.eval()
    assert torch.autograd.gradcheck(lambda x: module(x, y), f)
    np.testing.assert_array_equal(module.C.numpy(), result.info["C"])


@pytest.mark.parametrize("options", [{}, {"direction": "qp", "tau": 2.0}, {"dist": "l2"}], ids=str)
def test_feedback_through_the_weights_of_a_linear_layer(options):
    f, y = tensors(8, 5, 3)
    linear = torch.nn.Linear(5, 3).double()
    module = vt.FeedBackward(**options)
    module(f, y, linear.weight.T).backward()
    result = losses.FeedBackward(**options)(f.detach().numpy(), y, W=linear.weight.detach().numpy().T)
    np.testing.assert_array_equal(linear.weight.grad.numpy(), result.gradient["W"].T)
    assert torch.autograd.gradcheck(lambda x, w: module(x, y, w), (f, matrix(5, 3)))
    stopped = vt.FeedBackward(stop="W", **options)
    assert not torch.autograd.grad(stopped(f, y, linear.weight.T), linear.weight)[0].any()


@pytest.mark.parametrize("normalise", [False, True])
def test_separability_of_a_weight(normalise):
    w, penalty = matrix(5, 3), vt.SeparabilityPenalty(0.5, normalise)
    assert penalty(w).item() == losses.SeparabilityPenalty(0.5, normalise)(w.detach().numpy()).value
    assert torch.autograd.gradcheck(penalty, w)


def test_orthonormal_weights():
    q = vt.SemiOrthogonal()
    for shape in ((5, 3), (3, 5), (4, 4)):
        assert torch.autograd.gradcheck(q, matrix(*shape))
    linear = torch.nn.utils.parametrize.register_parametrization(torch.nn.Linear(6, 4).double(), "weight", q)
    assert losses.separability(linear.weight.T.detach().numpy()) < 1e-28
    linear.weight = torch.eye(4, 6, dtype=torch.float64)
    assert torch.equal(linear.weight, torch.eye(4, 6, dtype=torch.float64))
    with pytest.raises(DegenerateBatchError, match="rank 1"):
        q(torch.ones(4, 2))


def test_inward_scaling():
    x, _ = tensors(6, 4, 2)
    layer = vt.InwardScale(10.0, learnable=True).double()
    np.testing.assert_array_equal(layer(x).detach().numpy(), losses.InwardScale(10.0)(x.detach().numpy()))
    apply = torch.func.functional_call
    assert torch.autograd.gradcheck(lambda a, xi: apply(layer, {"xi": xi}, a), (x, layer.xi))
    assert torch.autograd.gradcheck(vt.InwardScale.paper().double(), x)
    layer(x).sum().backward()
    assert layer.xi.grad.ndim == 0
    with torch.no_grad():
        layer.xi -= 11.0
    with pytest.raises(ConfigError, match="xi is -1"):
        layer(x)


@pytest.mark.parametrize("loss", ["sum", "logdet"])
def test_repeated_eigenvalues_and_dead_units(loss):
    f, y = simplex()
    dead = np.hstack([f, np.zeros((len(f), 3))])
    x = torch.tensor(dead, requires_grad=True)
    for mode in ("exact", "ridge"):
        module = vt.NullSpaceLoss(mode=mode, spectral=loss)
        module(x, y).backward()
        assert torch.isfinite(x.grad).all()
        e = module.info["E"]
        assert np.ptp(e) < 1e-10 * e.max()  # all C - 1 of them
        assert torch.autograd.gradcheck(lambda a, module=module: module(a, y), x)


def test_a_batch_without_a_value_is_raised_skipped_or_given_a_ridge():
    f, y = tensors(20, 6, 3)
    with pytest.raises(DegenerateBatchError, match="N - C = 17 >= D"):
        vt.NullSpaceLoss(mode="exact")(f, y)
    mended = vt.NullSpaceLoss(mode="exact", on_degenerate="ridge")
    assert mended(f, y).item() == losses.NullSpaceLoss()(f.detach().numpy(), y).value
    assert mended.info["status"].startswith("ridge: ")
    with pytest.raises(DegenerateBatchError, match="one class"):
        mended(f, 0 * y)
    for module in (vt.NullSpaceLoss(on_degenerate="skip"), vt.VarproHead(3, on_degenerate="skip")):
        value = module(f, 0 * y)
        value.backward()
        assert value.item() == 0
        assert not f.grad.any()
        assert module.info["status"].startswith("skipped: ")
        with pytest.raises(NonFiniteError):
            module(f * torch.inf, y)
    assert vt.ContrastiveLoss(on_degenerate="skip")(f[:1], y[:1]).item() == 0
    assert vt.SeparabilityPenalty(normalise=True, on_degenerate="skip")(torch.zeros(3, 2)).item() == 0
    head = vt.VarproHead(3, 0.0, on_degenerate="ridge")
    assert head(f[:5], y[:5]).item() == losses.EliminatedLinear(3)(f[:5].detach().numpy(), y[:5]).value
    with pytest.raises(ConfigError, match="raise, skip here"):
        vt.ContrastiveLoss(on_degenerate="ridge")


def test_tensors_are_read_where_they_lie():
    f, y = tensors(8, 9, 3)
    for t in (f, f.T, f[::2], f[:1].expand(4, 9), f.float()):
        assert to_array(t, "F").ctypes.data == t.data_ptr()
    vt.IntraClassVariance()(f.T[:, ::2], torch.arange(9) // 3).backward()
    assert f.grad[::2].all()
    assert not f.grad[1::2].any()
    half = f.detach().to(torch.bfloat16).requires_grad_()
    value = vt.NullSpaceLoss()(half, y)
    value.backward()
    assert (value.dtype, half.grad.dtype) == (torch.float32, torch.bfloat16)
    small = (1e-7 * f.detach()).half().requires_grad_()  # a scaled loss keeps gradients that half precision lacks
    (2.0**16 * vt.IntraClassVariance()(small, y)).backward()
    assert small.grad.any()


def test_a_gradient_changed_in_place_is_not_given_again():
    f, y = tensors(8, 9, 3)
    loss = vt.IntraClassVariance()
    value = loss(f, y)
    first = torch.autograd.grad(value, f, retain_graph=True)[0]
    np.testing.assert_array_equal(torch.autograd.grad(value, f, retain_graph=True)[0], first)
    (loss(f, y) + loss(f, y)).backward()
    np.testing.assert_array_equal(f.grad, 2 * first)
    first.mul_(2)
    with pytest.raises(RuntimeError, match="inplace"):
        torch.autograd.grad(value, f)


def test_second_derivatives_are_refused():
    f, y = tensors(8, 9, 3)
    layer = vt.InwardScale(learnable=True).double()
    for value in (vt.NullSpaceLoss()(f, y), layer(f).sum(), vt.SemiOrthogonal()(f).sum()):
        first = torch.autograd.grad(value, f, create_graph=True)[0]
        with pytest.raises(BackendError, match="second derivatives"):
            first.sum().backward()


def test_bad_input():
    f, y = tensors(8, 9, 3)
    loss = vt.NullSpaceLoss()
    for wrong, message in (
        (f.detach().numpy(), "ndarray"),
        (f.detach().to_sparse(), "dense"),
        (torch.empty(8, 9, device="meta"), "dense"),
        (torch.ones(8, 9, dtype=torch.int64), "floating point"),
        (f[0], "two dimensions"),
    ):
        with pytest.raises(ShapeError, match=message):
            loss(wrong, y)
    with pytest.raises(ShapeError):
        loss(f, y[:7])
    with pytest.raises(ShapeError, match="integers"):
        loss(f, y.double())
    with pytest.raises(ConfigError, match="W="):
        vt.FeedBackward()(f, y)
    with pytest.raises(ShapeError, match="ndarray"):
        vt.InwardScale()(f.detach().numpy())
    for build in (
        lambda: vt.NullSpaceLoss(mode="other"),
        lambda: vt.NullSpaceLoss(on_degenerate="ignore"),
        lambda: vt.IntraClassVariance(mode="learned"),
        lambda: vt.IntraClassVariance(3, 4),
        lambda: vt.ContrastiveLoss.paper(),
        lambda: vt.InwardScale(-1.0),
        lambda: vt.VarproHead(1),
        lambda: vt.VarproHead(3, -1.0),
        lambda: vt.VarproHead(3, memory=1.5),
    ):
        with pytest.raises(ConfigError):
            build()
    assert vt.IntraClassVariance.paper(3, 4).C.shape == (3, 4)
    assert vt.FeedBackward.paper().loss == losses.FeedBackward.paper()
    assert "xi=100" in repr(vt.InwardScale.paper())
    assert "n_classes=3" in repr(vt.VarproHead(3))
    assert "logdet" in repr(loss)


def test_without_torch():
    code = "import sys; sys.modules['torch'] = None\nimport varpro.adapters.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{BackendError.__name__}: torch is not installed; pip install 'varpro[torch]'" in done.stderr
