"""Where a run computes: the choice between CPU and GPU, announced before anything long begins."""

from varpro.arrays import Device, cuda_available
from varpro.config.scalarized import ScalarizedConfig
from varpro.distributed.communicator import Communicator
from varpro.errors import ConfigError
from varpro.models.units.device import has_kernel, require_kernel


def choose_device(config: ScalarizedConfig, comm: Communicator) -> Device | None:
    """The GPU of this rank, or None for the CPU.  Collective; all ranks of a run compute on the same kind.

    Raises BackendError if CUDA was requested and is not available, ConfigError if keys contradict the choice.
    """
    kind, device = config.model.kind, None
    if config.search.method == "derivative-free":
        if config.backend == "cuda":
            raise ConfigError("search.method is derivative-free, which computes on the CPU; use --backend cpu")
    elif config.backend == "cuda":
        require_kernel(kind)
        device = Device.choose(config.device, comm.node_rank)
    elif config.backend == "auto" and has_kernel(kind) and all(comm.allgather(cuda_available())):
        device = Device.choose(config.device, comm.node_rank)
    if device is None and config.device is not None:
        raise ConfigError(
            f"device is {config.device}, but this run computes on the CPU; leave device out, or --backend cuda"
        )
    if device is None and config.search.gn_precision == "tf32":
        raise ConfigError("search.gn_precision is tf32, which only a GPU has; set it to fp32, or use --backend cuda")
    return device
