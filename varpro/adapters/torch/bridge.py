"""Tensors as arrays and back, and one autograd Function for every objective.

If CuPy and the kernels are available, CUDA tensors become CuPy arrays over the same memory, and all work on them is put
on PyTorch's current stream; otherwise they are copied to the host and the results are copied back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from varpro.arrays import Array, ArrayLike, borrowed, cuda_available, is_device_array, to_host, working_on
from varpro.errors import BackendError, ShapeError
from varpro.losses import LossResult
from varpro.losses.batch import Info

Labels = torch.Tensor | ArrayLike
"""Labels of a batch: a tensor, an array or a list."""
Context = Any
"""What autograd carries from forward to backward: the names that a Function has of its own are set on it."""


def to_array(t: torch.Tensor, name: str) -> Array:
    """The memory of a tensor as an array, with any strides; copied only from half precision, or as said above.

    Use device arrays only inside `computing_beside`.  Raises ShapeError for anything but a dense tensor.
    """
    _require_dense(t, name)
    t = t.detach()
    if t.is_floating_point() and t.dtype not in (torch.float32, torch.float64):
        t = t.float()
    return borrowed(t) if stays(t) else t.numpy(force=True)


def stays(t: torch.Tensor) -> bool:
    """Whether a tensor is used on the device where it is."""
    return t.is_cuda and cuda_available()


@contextmanager
def computing_beside(*tensors: torch.Tensor) -> Iterator[None]:
    """Inside, device arrays are made and used on the device and the stream of these tensors."""
    first = next((t for t in tensors if stays(t)), None)
    if first is None:
        yield
        return
    with working_on(*_place(first)):
        yield


def _place(t: torch.Tensor) -> tuple[int, int]:
    """The number of the device, and PyTorch's current stream there as a cudaStream_t."""
    return t.device.index, torch.cuda.current_stream(t.device).cuda_stream


def require_floating(t: torch.Tensor, name: str) -> None:
    """Raise ShapeError unless t is a dense floating-point tensor, which can have a gradient."""
    _require_dense(t, name)
    if not t.is_floating_point():
        raise ShapeError(f"{name} holds {t.dtype}; it needs floating point")


def to_labels(y: Labels) -> Array:
    """Labels on the host, from a tensor, an array or a list."""
    if not isinstance(y, torch.Tensor):
        return to_host(y)
    _require_dense(y, "y")
    return y.detach().numpy(force=True)


def _require_dense(t: object, name: str) -> None:
    if not isinstance(t, torch.Tensor):
        raise ShapeError(f"{name} is {type(t).__name__}; it must be a torch.Tensor (varpro.losses takes arrays)")
    if t.layout != torch.strided or t.is_meta:
        raise ShapeError(f"{name} is a tensor with layout {t.layout} on {t.device}; it must be dense and hold values")


def to_tensor(a: Array | float) -> torch.Tensor:
    """A tensor over the memory of an array, host or device; a number becomes a float64 tensor."""
    if is_device_array(a):
        return torch.utils.dlpack.from_dlpack(a)
    return torch.from_numpy(a) if isinstance(a, np.ndarray) else torch.tensor(a, dtype=torch.float64)


def beside(a: Array | float, t: torch.Tensor) -> torch.Tensor:
    """a with the device and the dtype of t; not copied if it has them already."""
    return to_tensor(a).to(device=t.device, dtype=t.dtype)


class _FirstOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, g: torch.Tensor, *sources: torch.Tensor | None) -> torch.Tensor:
        return g.view_as(g)

    @staticmethod
    def backward(ctx: Context, above: torch.Tensor) -> None:
        raise BackendError("second derivatives are not available: this gradient came from varpro.losses")


Gradients = tuple[torch.Tensor | None, ...]


def first_only(gradients: Gradients, *sources: torch.Tensor | None) -> Gradients:
    """The gradients, which raise BackendError if they are differentiated again by their inputs."""
    if not torch.is_grad_enabled():  # no create_graph=True
        return gradients
    return tuple(None if g is None else _FirstOnly.apply(g.detach(), *sources) for g in gradients)


Run = Callable[..., LossResult]


class _Objective(torch.autograd.Function):
    """A value whose gradients are known already; they wait for the one from above."""

    @staticmethod
    def forward(
        ctx: Context, value: torch.Tensor, gradients: Sequence[Array | None], *inputs: torch.Tensor
    ) -> torch.Tensor:
        pairs = zip(inputs, gradients, ctx.needs_input_grad[2:], strict=True)
        known = [(t, to_tensor(g).to(t.device)) if wanted and g is not None else (None, None) for t, g, wanted in pairs]
        ctx.save_for_backward(*(t for pair in known for t in pair))
        return value

    @staticmethod
    def backward(ctx: Context, above: torch.Tensor) -> Gradients:
        inputs, known = ctx.saved_tensors[::2], ctx.saved_tensors[1::2]
        parts = tuple(None if g is None else _scaled(g, above, t) for t, g in zip(inputs, known, strict=True))
        return None, None, *first_only(parts, above, *inputs)


def _scaled(g: torch.Tensor, above: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """above times g for t, converted to half precision last; summed over the batches for a shared input."""
    if above.ndim == 0 and above.detach().item() == 1.0:
        return g.to(t.dtype)  # g itself, which is saved, so a second backward after an in-place change is an error
    factor = above.to(g)
    product = g * factor.reshape(factor.shape + (1,) * (g.ndim - 1)) if factor.ndim else g * factor
    return (product if g.ndim == t.ndim else product.sum(dim=0)).to(t.dtype)


def evaluate(run: Run, **inputs: torch.Tensor) -> tuple[torch.Tensor, Info]:
    """run(**arrays) with the same names, as a differentiable scalar or (b,), and its info.

    If a result has a single gradient, it belongs to the first input.
    """
    for name, t in inputs.items():
        require_floating(t, name)
    with computing_beside(*inputs.values()):
        result = run(**{name: to_array(t, name) for name, t in inputs.items()})
        return _differentiable(result, inputs), result.info


def _differentiable(result: LossResult, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    first = next(iter(inputs.values()))
    dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
    value = torch.as_tensor(result.value, dtype=dtype, device=first.device)
    by_name = result.gradient if isinstance(result.gradient, Mapping) else {next(iter(inputs)): result.gradient}
    gradients = [by_name.get(name) for name in inputs]
    return _Objective.apply(value, gradients, *inputs.values())


def objective(loss: Run, features: torch.Tensor, y: Labels, **inputs: torch.Tensor) -> tuple[torch.Tensor, Info]:
    """Value and info of a loss of `varpro.losses` for tensors: objective(loss, F, y, W=W).

    The value has the dtype of F, or float32 for half precision, and (b,) entries for F (b, N, D).
    """
    labels = to_labels(y)

    def run(F: Array, **arrays: Array) -> LossResult:
        return loss(F, labels, **arrays)

    return evaluate(run, F=features, **inputs)
