"""Where a run computes: the choice between CPU and GPU, announced before anything long begins."""

from dataclasses import dataclass

from varpro.arrays import Device, cupy_installed
from varpro.config.scalarized import ScalarizedConfig
from varpro.distributed.communicator import Communicator
from varpro.errors import BackendError, ConfigError
from varpro.models.units.device import require_kernel


@dataclass(frozen=True)
class Place:
    """Where this rank computes."""

    device: Device | None = None
    """Its GPU; None computes on the CPU."""
    why_cpu: str | None = None
    """Why `backend: auto` took the CPU although CuPy is installed, which says that a GPU was expected."""


def choose_place(config: ScalarizedConfig, comm: Communicator) -> Place:
    """The place of this rank.  Collective; all ranks of a run compute on the same kind.

    Raises BackendError if CUDA was requested and is not available, ConfigError if keys contradict the choice.
    """
    place = Place()
    if config.search.method == "derivative-free":
        if config.backend == "cuda":
            raise ConfigError("search.method is derivative-free, which computes on the CPU; use --backend cpu")
    elif config.backend == "cuda":
        place = Place(_device(config, comm))
    elif config.backend == "auto":
        place = _best(config, comm)
    if place.device is None and config.device is not None:
        raise ConfigError(
            f"device is {config.device}, but this run computes on the CPU{_because(place)}; leave device out, or "
            "--backend cuda"
        )
    if place.device is None and config.search.gn_precision == "tf32":
        raise ConfigError(
            f"search.gn_precision is tf32, which only a GPU has, but this run computes on the CPU{_because(place)}; "
            "set it to fp32, or use --backend cuda"
        )
    return place


def _device(config: ScalarizedConfig, comm: Communicator) -> Device:
    require_kernel(config.model.kind)
    return Device.choose(config.device, comm.node_rank)


def _best(config: ScalarizedConfig, comm: Communicator) -> Place:
    """A GPU where every rank has one, else the CPU."""
    device, refused = None, None
    try:
        device = _device(config, comm)
    except BackendError as error:
        refused = str(error)
    answers = comm.allgather((refused, cupy_installed()))
    reasons = [(rank, reason) for rank, (reason, _) in enumerate(answers) if reason is not None]
    if not reasons:
        return Place(device)
    if not any(installed for _, installed in answers):
        return Place()
    rank, reason = reasons[0]
    return Place(None, _plain(reason) if comm.size == 1 else f"rank {rank}: {_plain(reason)}")


def _plain(refusal: str) -> str:
    """A refusal without the words for those who insisted on CUDA."""
    for ending in (", or use the CPU", "; use the CPU", " or use the CPU", " or --backend cpu"):
        refusal = refusal.removesuffix(ending)
    return refusal.removeprefix("CUDA was asked for, but ")


def _because(place: Place) -> str:
    return f" ({place.why_cpu})" if place.why_cpu else ""
