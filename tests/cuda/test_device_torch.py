"""The PyTorch adapter on tensors of a device: which path a tensor takes, and all of it on the stand-in.

With the stand-in, the memory of the host plays the device, so that CPU tensors take the path of CUDA tensors.
"""

import contextlib
import types

import numpy as np
import pytest

from tests.losses.differences import batch
from varpro import arrays, losses
from varpro.arrays import is_device_array
from varpro.errors import ShapeError

torch = pytest.importorskip("torch", reason="torch is not installed")

from varpro.adapters import torch as vt  # noqa: E402
from varpro.adapters.torch import bridge  # noqa: E402

EPS = np.finfo(float).eps
STREAM = 77


@pytest.fixture
def there(xp, monkeypatch):
    """Makes a tensor of the device; on the stand-in every tensor is one."""
    if torch.cuda.is_available() and not hasattr(xp.ndarray, "fetched"):
        return lambda t: t.detach().cuda()
    if not hasattr(xp.ndarray, "fetched"):
        pytest.skip("a GPU is here, and PyTorch has no CUDA")
    monkeypatch.setattr(bridge, "stays", lambda t: True)
    monkeypatch.setattr(bridge, "_place", lambda t: (0, STREAM))
    return lambda t: t.detach().clone()


def close(a, b, tolerance=1e5 * EPS):
    a, b = a.detach().cpu().numpy(), b.detach().cpu().numpy()
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


MODULES = {
    "nullspace": vt.NullSpaceLoss,
    "nullspace exact": lambda: vt.NullSpaceLoss(mode="exact"),
    "variance": vt.IntraClassVariance,
    "variance learned": lambda: vt.IntraClassVariance.paper(5, 19),
    "variance proximal": lambda: vt.IntraClassVariance(5, 19, mode="proximal"),
    "feedback": lambda: vt.FeedBackward(eliminate=True),
    "contrastive": lambda: vt.ContrastiveLoss(5.0),
    "head": lambda: vt.VarproHead(4),
    "head with memory": lambda: vt.VarproHead(4, memory=0.5),
}


def two_steps(module, f, y, move):
    """Values and gradients of two calls, the second on other features."""
    module = module.double()
    if move is not None and next(iter(module.state_dict().values()), None) is not None and f.is_cuda:
        module = module.cuda()
    found = []
    for shift in (0.0, 0.5):
        x = (move or torch.clone)(f + shift * f.roll(1, 0)).requires_grad_()
        value = module(x, y)
        (2 * value).backward()
        found += [value, x.grad]
    return found


@pytest.mark.parametrize("name", MODULES)
def test_modules_give_what_they_give_on_the_cpu(request, name):
    f, y = (torch.tensor(a) for a in batch(15, 19, 4))
    expected = two_steps(MODULES[name](), f, y, None)
    there = request.getfixturevalue("there")
    found = two_steps(MODULES[name](), there(f), there(y), there)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        close(a, b)


@pytest.mark.parametrize("module", [vt.NullSpaceLoss(), vt.IntraClassVariance(), vt.VarproHead(4)])
def test_nothing_of_the_size_of_the_batch_is_fetched(there, xp, module):
    if not hasattr(xp.ndarray, "fetched"):
        pytest.skip("a GPU is here: only the stand-in counts what is fetched")
    f, y = (there(torch.tensor(a)) for a in batch(15, 19, 4))
    xp.ndarray.fetched.clear()
    module(f.requires_grad_(), y).backward()
    assert max(xp.ndarray.fetched, default=0) <= 19


def test_memory_is_shared_both_ways(there, xp):
    t = there(torch.arange(12.0).reshape(3, 4))
    with bridge.computing_beside(t):
        a = bridge.to_array(t[:, ::2], "F")
        assert is_device_array(a)
        assert a.data.ptr == t.data_ptr()
        assert a.get().tolist() == t[:, ::2].tolist()
        back = bridge.to_tensor(a)
    assert back.data_ptr() == t.data_ptr()
    assert bridge.to_array(there(torch.ones(2, 2, dtype=torch.float16)), "F").dtype == np.float32


def test_work_is_put_on_the_stream_of_pytorch(there, xp):
    f = there(torch.tensor(batch(9, 4, 3)[0])).requires_grad_()
    if f.is_cuda:
        side = torch.cuda.Stream()
        inside, wanted = torch.cuda.stream(side), side.cuda_stream
    else:
        inside, wanted = contextlib.nullcontext(), STREAM
    before, seen = xp.cuda.get_current_stream().ptr, []

    def loss(F, y):
        seen.append(xp.cuda.get_current_stream().ptr)
        return losses.IntraClassVariance()(F, y)

    with inside:
        bridge.objective(loss, f, np.arange(9) % 3)
    assert seen == [wanted]
    assert xp.cuda.get_current_stream().ptr == before


def test_layers(request):
    x, g = (torch.tensor(batch(9, 6, 3, seed)[0]) for seed in (0, 1))

    def steps(move):
        found = []
        for layer in (vt.InwardScale(3.0, learnable=True).double(), vt.SemiOrthogonal()):
            at = move(x)
            layer = layer.cuda() if at.is_cuda else layer
            out = layer(at.requires_grad_())
            out.backward(move(g))
            found += [out, at.grad, *(p.grad for p in layer.parameters())]
        return found

    expected = steps(torch.clone)
    for a, b in zip(steps(request.getfixturevalue("there")), expected, strict=True):
        close(a, b)


def test_a_head_fitted_on_a_device_is_saved_and_read_on_the_cpu(request):
    f, y = (torch.tensor(a) for a in batch(40, 6, 4))
    here = vt.VarproHead(4).partial_fit(f[:17], y[:17]).partial_fit(f[17:], y[17:])
    there = request.getfixturevalue("there")
    head = vt.VarproHead(4).partial_fit(f[:17], y[:17]).partial_fit(there(f[17:]), there(y[17:]))
    close(head.A, here.A)
    head.eval()
    close(head(there(f), y), here.eval()(f, y))
    state = head.state_dict()["_extra_state"]
    assert all(t.device.type == "cpu" for t in state.values() if isinstance(t, torch.Tensor))
    assert head.predict(there(f)).tolist() == here.predict(f).tolist()


def test_a_batch_without_a_value_is_skipped(there):
    f = there(torch.ones(6, 4)).requires_grad_()
    module = vt.NullSpaceLoss(on_degenerate="skip")
    module(f, np.arange(6) % 2).backward()
    assert not f.grad.any()
    with pytest.raises(ShapeError, match="dense"):
        module(f.to_sparse(), np.arange(6) % 2)


@pytest.mark.parametrize(("cuda", "cupy", "stays"), [(False, True, False), (True, False, False), (True, True, True)])
def test_without_cupy_tensors_are_staged(monkeypatch, cuda, cupy, stays):
    monkeypatch.setattr(bridge, "cuda_available", lambda: cupy)
    assert bridge.stays(types.SimpleNamespace(is_cuda=cuda)) is stays
    if not stays:
        t = torch.ones(3, 2, device="cuda" if cuda and torch.cuda.is_available() else "cpu")
        assert isinstance(bridge.to_array(t, "F"), np.ndarray)


def test_the_null_stream(xp):
    with arrays.working_on(0, 0):
        assert xp.cuda.get_current_stream().ptr == xp.cuda.Stream.null.ptr
