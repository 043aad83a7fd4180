"""What ranks do to one another's numbers, with ranks that are threads of one process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from varpro.distributed import SerialCommunicator  # noqa: E402
from varpro.report.progress import Display  # noqa: E402
from varpro.train.layered import evaluation, parallel  # noqa: E402
from varpro.train.layered.layers import Dense, Flatten  # noqa: E402
from varpro.train.layered.measured import LayeredRun  # noqa: E402
from varpro.train.layered.network import LayeredNetwork  # noqa: E402
from varpro.train.layered.plan import NetworkPlan  # noqa: E402
from varpro.train.layered.training import Images  # noqa: E402

torch.set_num_threads(1)


class Rank:
    """One of several ranks, which meet at a barrier."""

    def __init__(self, rank, size, shared):
        self.rank, self.size = rank, size
        self.barrier, self.table = shared

    def allgather(self, value):
        self.table[self.rank] = value
        self.barrier.wait(30)
        found = [self.table[rank] for rank in range(self.size)]
        self.barrier.wait(30)
        return found

    def allreduce(self, array, op="sum"):
        assert op == "sum"
        return np.sum(self.allgather(np.array(array)), axis=0)

    def allreduce_(self, array, op="sum"):
        array[:] = self.allreduce(array, op)
        return array


def on_ranks(size, work):
    """work(comm) of every rank."""
    shared = threading.Barrier(size), {}
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: work(Rank(rank, size, shared)), range(size)))


SIZES = [1, 2, 3]


@pytest.mark.parametrize("size", SIZES)
def test_rows_come_together_in_the_order_of_the_ranks_and_gradients_go_back_to_their_own(size):
    own = [torch.arange(2.0 * (rank + 1)).reshape(-1, 2) + 10 * rank for rank in range(size)]
    weights = torch.arange(float(sum(len(part) for part in own)))[:, None] + 1

    def work(comm):
        part = own[comm.rank].clone().requires_grad_()
        whole = parallel.gather_rows(part, comm)
        (weights * whole).sum().backward()
        return whole.detach(), part.grad

    found = on_ranks(size, work)
    first = 0
    for rank, (whole, grad) in enumerate(found):
        assert torch.equal(whole, torch.cat(own))
        last = first + len(own[rank])
        assert torch.equal(grad, weights[first:last].expand(-1, 2))
        first = last


@pytest.mark.parametrize("size", SIZES)
def test_a_parameter_that_every_rank_sees_whole_counts_once(size):
    def work(comm):
        parameter = torch.ones(3, requires_grad=True)
        (2.0 * parallel.counted_once(parameter, comm)).sum().backward()
        return parameter.grad

    found = on_ranks(size, work)
    assert torch.equal(found[0], torch.full((3,), 2.0))
    assert not any(bool(grad.any()) for grad in found[1:])


@pytest.mark.parametrize("size", SIZES)
def test_gradients_are_summed_over_ranks_and_a_missing_one_is_zero(size):
    def work(comm):
        a, b = torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4))
        a.grad = torch.full((2, 3), float(comm.rank + 1))
        b.grad = torch.arange(4.0) if comm.rank == size - 1 else None
        parallel.sum_gradients([a, b], comm)
        return a.grad, b.grad

    for a, b in on_ranks(size, work):
        assert torch.equal(a, torch.full((2, 3), size * (size + 1) / 2))
        assert torch.equal(b, torch.arange(4.0))


@pytest.mark.parametrize("size", SIZES)
def test_running_moments_are_means_over_the_ranks_and_counts_stay(size):
    def work(comm):
        module = torch.nn.BatchNorm1d(2)
        module.running_mean.fill_(float(comm.rank))
        module.running_var.fill_(2.0 * comm.rank)
        module.num_batches_tracked.fill_(7)
        parallel.agree_on_buffers(module, comm)
        return module.running_mean, module.running_var, int(module.num_batches_tracked)

    for mean, variance, count in on_ranks(size, work):
        assert torch.equal(mean, torch.full((2,), (size - 1) / 2))
        assert torch.equal(variance, torch.full((2,), float(size - 1)))
        assert count == 7


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("block", [2, 125])
def test_each_rank_passes_a_part_of_the_images_and_all_get_the_whole(size, block, monkeypatch):
    monkeypatch.setattr(evaluation, "BLOCK", block)
    torch.manual_seed(0)
    network = LayeredNetwork(NetworkPlan("it", (1, 2, 3), 4, (Flatten(), Dense(5)), True))
    images = Images(torch.rand(11, 1, 2, 3), torch.arange(11) % 4)
    with torch.no_grad():
        features, scores = network.eval()(images.pixels)

    def work(comm):
        return evaluation.pass_through(network, images, comm)

    for passed in on_ranks(size, work):
        np.testing.assert_allclose(passed.features, features.numpy(), atol=1e-6)
        np.testing.assert_allclose(passed.scores, scores.numpy(), atol=1e-6)
        np.testing.assert_array_equal(passed.labels, np.arange(11) % 4)


def test_ranks_begin_with_one_network_and_drop_out_each_for_itself():
    from varpro.config.layered import LayeredConfig

    plan = NetworkPlan("it", (1, 2, 3), 4, (Flatten(), Dense(5)), True)
    config = LayeredConfig.model_validate({"data": {"source": "x"}, "network": {"name": "simplenet_small"}, "seed": 3})
    images = Images(torch.rand(3, 1, 2, 3), torch.arange(3))
    begun = []
    for rank in (0, 1, 0):
        comm = SerialCommunicator()
        comm = type("Other", (), {"rank": rank, "size": 2})() if rank else comm
        run = LayeredRun(config, comm, Display(), torch.device("cpu"), images, images, images, 4)
        torch.manual_seed(99 + len(begun))  # whatever the caller has drawn
        network = run.start(plan)
        begun.append((torch.cat([p.detach().ravel() for p in network.parameters()]), torch.rand(4)))
    assert torch.equal(begun[0][0], begun[1][0])
    assert torch.equal(begun[0][0], begun[2][0])
    assert torch.equal(begun[0][1], begun[2][1])
    assert not torch.equal(begun[0][1], begun[1][1])
