"""The eliminated last layer of a PyTorch network, its memory, training with it, balanced batches."""

import io

import numpy as np
import pytest

from tests.losses.differences import batch
from varpro import losses
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError

torch = pytest.importorskip("torch", reason="torch is not installed")

from varpro.adapters import torch as vt  # noqa: E402

torch.set_num_threads(1)


def tensors(n, d, c):
    f, y = batch(n, d, c)
    return torch.tensor(f, requires_grad=True), torch.tensor(y)


def test_the_head_remembers():
    f, y = tensors(40, 6, 3)
    head, loss = vt.VarproHead(3, memory=0.5), losses.EliminatedLinear(3)
    with pytest.raises(DegenerateBatchError, match="no layer yet"):
        head.predict(f)
    rows = f.detach().numpy()
    head(f[:5], y[:5])  # fewer rows than columns, no past
    value = head(f[5:40], y[5:40])
    past = losses.ClassMoments.of(rows[:5], y[:5]).forget(0.5)
    result = loss(rows[5:], y[5:], memory=past)
    assert value.item() == pytest.approx(result.value, rel=1e-12)
    np.testing.assert_allclose(head.A.numpy(), result.info["A"], atol=1e-14)
    other = vt.VarproHead(3, memory=0.5)
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(f[:9], y[:9]), head(f[:9], y[:9]))
    assert torch.equal(other.predict(f), head.predict(f))

    whole = vt.VarproHead(3)
    for part in torch.arange(40).split(7):
        whole.partial_fit(f[part], y[part])
    result = loss(rows, y)
    np.testing.assert_allclose(whole.A.numpy(), result.info["A"], atol=1e-12)
    whole.eval()
    assert whole(f, y).item() == pytest.approx(result.value, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: whole(x, y[:6]), f[:6])
    assert torch.autograd.gradcheck(whole.scores, f[:3])
    assert torch.equal(whole.predict(f), whole.scores(f).argmax(1))
    with pytest.raises(ShapeError, match="solved for 6"):
        whole.predict(f[:, :5])
    with pytest.raises(ShapeError, match="solved for 6"):
        whole(f[:, :5], y)


def circles(n, seed):
    """Three rings: no linear layer on the coordinates separates them."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    angle, radius = rng.uniform(0, 2 * np.pi, n), 1 + y + 0.1 * rng.standard_normal(n)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(y)


@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_training_with_the_head(memory):
    torch.manual_seed(0)
    x, y = circles(300, 0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 12), torch.nn.Tanh())
    head = vt.VarproHead(3, memory=memory)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    values = []
    for _ in range(20):
        for rows in vt.ClassBalancedSampler(y, 3, 20):
            optimiser.zero_grad()
            value = head(net(x[rows]), y[rows])
            value.backward()
            optimiser.step()
            values.append(value.item())
    assert np.mean(values[-5:]) < 0.5 * np.mean(values[:5])
    new, labels = circles(300, 1)
    head.eval()
    with torch.no_grad():
        assert (head.predict(net(new)) == labels).float().mean() > 0.9  # chance is a third
        assert head(net(new), labels).item() < 0.5 * values[0]


def test_batches_are_balanced():
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([3, -1, 9, 4, 7], [30, 12, 25, 9, 24]))
    sampler = vt.ClassBalancedSampler(torch.tensor(y), 3, 4, seed=1)
    first, second = list(sampler), list(sampler)
    assert len(first) == len(sampler) == 100 // 12
    assert first != second
    for indices in first + second:
        assert len(set(indices)) == 12
        assert sorted(np.unique(y[indices], return_counts=True)[1]) == [4, 4, 4]
    drawn = np.concatenate(first)
    turns = [np.count_nonzero(y[drawn] == c) // 4 for c in np.unique(y)]
    assert max(turns) - min(turns) <= 1
    for c in np.unique(y):  # none again before all
        times = np.bincount(drawn[y[drawn] == c], minlength=len(y))[y == c]
        assert times.max() - times.min() <= 1
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert list(vt.ClassBalancedSampler(y, 3, 4, seed=1)) == first
    assert list(vt.ClassBalancedSampler(y, 3, 4, seed=2)) != first
    assert len(vt.ClassBalancedSampler([0, 1, 1, 0], 2, 2)) == 1
    data = torch.utils.data.TensorDataset(torch.tensor(y))
    loader = torch.utils.data.DataLoader(data, batch_sampler=sampler)
    assert all(len(labels) == 12 for (labels,) in loader)
    for wrong, message in (((6, 4), "5 classes"), ((0, 4), "5 classes"), ((2, 10), "class 4 has 9"), ((2, 0), "is 0")):
        with pytest.raises(ConfigError, match=message):
            vt.ClassBalancedSampler(y, *wrong)
    with pytest.raises(ConfigError, match="seed"):
        vt.ClassBalancedSampler(y, 2, 2, seed=-1)
    with pytest.raises(ShapeError):
        vt.ClassBalancedSampler(y[:, None], 2, 2)
