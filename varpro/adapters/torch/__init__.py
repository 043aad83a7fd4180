"""The objectives of `varpro.losses` in PyTorch: modules with their exact gradients, an eliminated last layer, fits
whose solutions have gradients, and trained networks of units as modules.

A module is called as loss(F, y, ...) with tensors and returns a scalar; `.info` holds the results of the last call.
Tensors are used where they are: on the CPU and, if CuPy and the kernels are installed, on a CUDA device; otherwise
device tensors are staged, that is copied to the CPU, and the gradient is copied back.
First derivatives only, and not under torch.compile.  Each call adds about 0.2 ms to the loss itself.
"""

from varpro.errors import BackendError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise BackendError("torch is not installed; pip install 'varpro[torch]'") from error

from varpro.adapters.torch.bridge import objective
from varpro.adapters.torch.fit_layer import fit_layer
from varpro.adapters.torch.head import VarproHead
from varpro.adapters.torch.layers import InwardScale, SemiOrthogonal
from varpro.adapters.torch.modules import (
    ContrastiveLoss,
    FeedBackward,
    IntraClassVariance,
    NullSpaceLoss,
    SeparabilityPenalty,
)
from varpro.adapters.torch.network import NetworkModule, network
from varpro.adapters.torch.sampler import ClassBalancedSampler

__all__ = [
    "ClassBalancedSampler",
    "ContrastiveLoss",
    "FeedBackward",
    "IntraClassVariance",
    "InwardScale",
    "NetworkModule",
    "NullSpaceLoss",
    "SemiOrthogonal",
    "SeparabilityPenalty",
    "VarproHead",
    "fit_layer",
    "network",
    "objective",
]
