"""One network on several ranks: each takes a part of every batch, while the objective sees all of it.

    features (whole batch) = gather of the parts;  dL/d(own features) = own rows of dL/d(features)
    parameter gradients = sum over ranks of what each part gives, one allreduce of a flat buffer

Every rank evaluates the objective on the same whole batch, so its gradient is exact even for objectives that are not
sums over samples.  Sums have the same bits everywhere, and so do the parameters after a step.
"""

from collections.abc import Iterable

import numpy as np
import torch

from varpro.adapters.torch.bridge import Context
from varpro.arrays import Array
from varpro.distributed import Communicator


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, part: torch.Tensor, comm: Communicator) -> torch.Tensor:
        parts = comm.allgather(part.detach().numpy(force=True))
        first = sum(len(p) for p in parts[: comm.rank])
        ctx.own = slice(first, first + len(part))
        return torch.from_numpy(np.concatenate(parts)).to(part)

    @staticmethod
    def backward(ctx: Context, above: torch.Tensor) -> tuple[torch.Tensor, None]:
        return above[ctx.own], None


def gather_rows(part: torch.Tensor, comm: Communicator) -> torch.Tensor:
    """The rows of all ranks in rank order, (N, ...), on every rank.  Collective."""
    return part if comm.size == 1 else _Gather.apply(part, comm)


class _OnFirst(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, t: torch.Tensor, comm: Communicator) -> torch.Tensor:
        ctx.counted = comm.rank == 0
        return t.view_as(t)

    @staticmethod
    def backward(ctx: Context, above: torch.Tensor) -> tuple[torch.Tensor, None]:
        return above if ctx.counted else torch.zeros_like(above), None


def counted_once(parameter: torch.Tensor, comm: Communicator) -> torch.Tensor:
    """A parameter that the objective uses directly: every rank computes its whole gradient, so only rank 0's counts."""
    return parameter if comm.size == 1 else _OnFirst.apply(parameter, comm)


def sum_gradients(parameters: Iterable[torch.nn.Parameter], comm: Communicator) -> None:
    """Replace each gradient by its sum over ranks; a missing one counts as zero.  Collective."""
    if comm.size == 1:
        return
    given = list(parameters)
    flat = np.concatenate([_flat(p) for p in given])
    comm.allreduce_(flat)
    first = 0
    for p in given:
        p.grad = torch.from_numpy(flat[first : first + p.numel()]).view_as(p).to(p)
        first += p.numel()


def _flat(parameter: torch.nn.Parameter) -> Array:
    grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return grad.detach().numpy(force=True).ravel()


def agree_on_buffers(module: torch.nn.Module, comm: Communicator) -> None:
    """Replace running means and variances by their means over ranks, so that all ranks evaluate alike.  Collective."""
    if comm.size == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            mean = comm.allreduce(buffer.detach().numpy(force=True).astype(np.float64)) / comm.size
            buffer.copy_(torch.from_numpy(np.asarray(mean)))
