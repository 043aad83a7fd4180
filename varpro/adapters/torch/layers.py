"""Maps inside a network: features on a sphere, orthonormal columns."""

from typing import Self

import torch

from varpro import losses
from varpro.adapters.torch.bridge import (
    Context,
    Gradients,
    beside,
    computing_beside,
    first_only,
    require_floating,
    to_array,
)


class _Inward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, x: torch.Tensor, xi: torch.Tensor, eps: float) -> torch.Tensor:
        ctx.save_for_backward(x, xi)
        ctx.eps = eps
        with computing_beside(x):
            return beside(losses.InwardScale(xi.item(), eps)(to_array(x, "x")), x)

    @staticmethod
    def backward(ctx: Context, g: torch.Tensor) -> Gradients:
        x, xi = ctx.saved_tensors
        layer = losses.InwardScale(xi.item(), ctx.eps, learnable=True)
        wanted = ctx.needs_input_grad
        with computing_beside(x):
            by = layer.vjp(to_array(x, "x"), to_array(g, "g"))
            parts = beside(by["x"], x) if wanted[0] else None, beside(by["xi"], xi) if wanted[1] else None
        return *first_only(parts, g, x, xi), None


class InwardScale(torch.nn.Module):
    """layer(x) -> x / (xi sqrt(x.x + eps)) for x (N, D); xi is a parameter if learnable, else a buffer.

    A step that would bring a learnable xi to 0 or below ends the training with a ConfigError; lower its rate.
    """

    xi: torch.Tensor

    def __init__(self, xi: float = 100.0, eps: float = 1e-8, learnable: bool = False) -> None:
        super().__init__()
        layer = losses.InwardScale(xi, eps, learnable)
        self.eps, self.learnable = layer.eps, layer.learnable
        scalar = torch.tensor(float(xi))
        if learnable:
            self.xi = torch.nn.Parameter(scalar)
        else:
            self.register_buffer("xi", scalar)

    @classmethod
    def paper(cls) -> Self:
        """xi = 100, fixed."""
        return cls(losses.InwardScale.paper().xi)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        require_floating(x, "x")
        return _Inward.apply(x, self.xi, self.eps)

    def extra_repr(self) -> str:
        return f"xi={float(self.xi):g}, eps={self.eps:g}, learnable={self.learnable}"


class _Orthonormal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, v: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(v)
        with computing_beside(v):
            ctx.basis = losses.semi_orthogonal(to_array(v, "V"))
            return beside(ctx.basis.value, v)

    @staticmethod
    def backward(ctx: Context, g: torch.Tensor) -> Gradients:
        with computing_beside(g):
            by_v = beside(ctx.basis.vjp(to_array(g, "g")), g)
        return first_only((by_v,), g, *ctx.saved_tensors)


class SemiOrthogonal(torch.nn.Module):
    """Parametrisation of a weight with orthonormal columns, or rows if it is wide: Q of V = Q R.

    torch.nn.utils.parametrize.register_parametrization(linear, "weight", SemiOrthogonal()) makes the separability of
    a last layer 0.  Assigning to the weight sets V.  Dependent columns of V raise DegenerateBatchError.
    """

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        require_floating(v, "V")
        wide = v.ndim == 2 and v.shape[0] < v.shape[1]
        q = _Orthonormal.apply(v.T if wide else v)
        return q.T if wide else q

    def right_inverse(self, q: torch.Tensor) -> torch.Tensor:
        """V for Q, which is Q itself."""
        return q
