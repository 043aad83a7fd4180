"""The objectives of `varpro.losses` in PyTorch: modules whose gradients come from there, and a last layer eliminated.

A module is called as loss(F, y, ...) with tensors and gives a scalar; `.info` has what was found in the last call.
Tensors are read where they lie, on the CPU and, with CuPy and the kernels installed, on a CUDA device; without, those
of a device are staged: copied to the CPU, and the gradient back.
First derivatives only, and outside of torch.compile.  Each call adds about 0.2 ms to the loss itself.
"""

from varpro.errors import BackendError

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise BackendError("torch is not installed; pip install 'varpro[torch]'") from error

from varpro.adapters.torch.bridge import objective
from varpro.adapters.torch.head import VarproHead
from varpro.adapters.torch.layers import InwardScale, SemiOrthogonal
from varpro.adapters.torch.modules import (
    ContrastiveLoss,
    FeedBackward,
    IntraClassVariance,
    NullSpaceLoss,
    SeparabilityPenalty,
)
from varpro.adapters.torch.sampler import ClassBalancedSampler

__all__ = [
    "ClassBalancedSampler",
    "ContrastiveLoss",
    "FeedBackward",
    "IntraClassVariance",
    "InwardScale",
    "NullSpaceLoss",
    "SemiOrthogonal",
    "SeparabilityPenalty",
    "VarproHead",
    "objective",
]
