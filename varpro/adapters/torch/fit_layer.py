"""A fit as a layer of PyTorch, whose solution has gradients: see varpro.adapters._implicit for the mathematics."""

from collections.abc import Callable
from typing import Any

import torch

from varpro.adapters._implicit import Layout, check_options, minimum_of, where_finite
from varpro.adapters.torch.bridge import Context
from varpro.arrays import Array
from varpro.errors import ShapeError

Tensor = torch.Tensor
Model = Callable[..., Tensor]
"""(t, w) -> (N, I), or (t, w, constants) -> (N, I), in PyTorch; t (N, ...), w (P,), constants (C,)"""


def fit_layer(
    model: Model,
    t: Tensor,
    y: Tensor,
    w0: Tensor,
    *,
    weights: Tensor | None = None,
    constants: Tensor | None = None,
    ridge: float = 0.0,
    strict: bool = True,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Fit B problems and return their parameters, which have gradients with respect to y, weights and constants.

    model : (t, w) -> (N, I) in PyTorch, twice differentiable; with constants, (t, w, c) -> (N, I).
    t : (N, ...), shared.  y : (N,), (N, K), or (B, N), (B, N, K) with `w0` (B, P); a y with two axes is a batch if w0
        has two, or if constants have.  w0 : (P,) for all or (B, P), where each search starts; it has no gradient.
    weights : (N,) or the shape of y, factors on the residual; NaN in y or weights leaves a value out, as a weight of 0
        does, whatever y and the model are there.  constants : (C,) or (B, C), what the model knows and the fit leaves
        as it is.  ridge : mu of mu ||A||^2.
    strict : raise ConfigError where a search did not converge, and ShapeError or DataError where a problem has too few
        values or infinite ones; otherwise the results of that problem are NaN, and so are its gradients where the loss
        depends on it.
    options : max_iterations, tolerances and bounds of `varpro.fit`; a parameter on a bound has the gradient 0.
    Returns w (P,) and A (I,) or (I, K), with the axis B in front for a batch; dtype and device of y, the search itself
        in float64 on the CPU.  First derivatives only.

    Raises ShapeError, ConfigError or DataError for input that cannot be fitted.
    """
    check_options(options)
    t, y, w0 = _floating(t, "t"), _floating(y, "y"), torch.atleast_1d(_floating(w0, "w0"))
    weights = None if weights is None else _floating(weights, "weights").to(y)
    constants = None if constants is None else torch.atleast_1d(_floating(constants, "constants"))
    layout = Layout.of(
        tuple(t.shape), tuple(y.shape), tuple(w0.shape),
        None if constants is None else tuple(constants.shape), None if weights is None else tuple(weights.shape),
    )  # fmt: skip
    values = y.reshape(layout.shape)
    start = w0.detach().expand(layout.shape[0], -1)
    given = None if constants is None else constants.expand(layout.shape[0], -1)
    if weights is None:
        factor = torch.ones_like(values)
    else:
        factor = weights[None, :, None].expand(values.shape) if layout.weight_of_rows else weights.reshape(values.shape)
    left_out = values.isnan() | factor.isnan() | (factor == 0)  # whatever stands there; nothing depends on it
    values, factor = (torch.where(left_out, torch.zeros_like(x), x) for x in (values, factor))
    w, a = _Fit.apply(model, t, values, start, factor, given, ridge, strict, options)
    a = a[..., 0] if layout.flat else a
    return (w, a) if layout.several else (w[0], a[0])


class _Fit(torch.autograd.Function):
    """The search, and the implicit function theorem as its backward pass."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Context, model: Model, t: Tensor, y: Tensor, w0: Tensor, v: Tensor, c: Tensor | None, ridge: float,
        strict: bool, options: dict[str, Any],
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        found, places, shared = [], [], _double(t)
        for b in range(len(y)):
            own, start = [_double(x) for x in (y[b], v[b], *(() if c is None else (c[b],)))], _double(w0[b]).numpy()
            problem = _Problem(model, shared, own, len(start), ridge)
            own_t = where_finite(problem, shared.numpy(), start, own[1].numpy())
            problem.t = torch.as_tensor(own_t)
            found.append(minimum_of(
                problem, own_t, own[0].numpy(), start, own[1].numpy(), ridge=ridge, strict=strict, options=options
            ))  # fmt: skip
            places.append(problem.t)
        ctx.save_for_backward(y, v, torch.empty(0) if c is None else c)
        ctx.model, ctx.ridge, ctx.constant, ctx.found = model, ridge, c is not None, found
        ctx.places, ctx.strict = places, strict
        w, a = (torch.stack([torch.as_tensor(getattr(one, name)) for one in found]) for name in ("w", "a"))
        return w.to(y), a.to(y)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Context, by_w: Tensor, by_a: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        y, v, c = (x.detach() for x in ctx.saved_tensors)
        out_y, out_v, out_c = torch.zeros_like(y), torch.zeros_like(v), torch.zeros_like(c)
        for b, one in enumerate(ctx.found):
            seen = _double(torch.cat([by_w[b], by_a[b].ravel()]))
            if not seen.any():  # nothing depends on this problem, not even on one without a solution
                continue
            own = [_double(x) for x in (y[b], v[b], *((c[b],) if ctx.constant else ()))]
            problem = _Problem(ctx.model, ctx.places[b], own, by_w.shape[1], ctx.ridge)
            adjoint = torch.as_tensor(one.inverse(problem.hessian(one.theta), strict=ctx.strict)) @ seen
            grads = problem.adjoint(torch.as_tensor(one.theta), adjoint)
            out_y[b], out_v[b] = grads[0].to(out_y), grads[1].to(out_v)
            if ctx.constant:
                out_c[b] = grads[2].to(out_c)
        return None, None, out_y, None, out_v, out_c if ctx.constant else None, None, None, None


def _floating(x: Any, name: str) -> Tensor:
    """A tensor of real floating-point numbers: whole ones in double precision.  Raises ShapeError for all else."""
    try:
        tensor = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(
            f"{name} is {type(x).__name__}, not a tensor, an array or a list of numbers: {error}"
        ) from error
    if tensor.is_complex():
        raise ShapeError(f"{name} is complex; a layer fits real data: real and imaginary parts may be two columns")
    return tensor if tensor.is_floating_point() else tensor.to(torch.float64)


def _double(x: Tensor) -> Tensor:
    """In double precision on the host, without a gradient."""
    return x.detach().to(dtype=torch.float64, device="cpu")


class _Problem:
    """The derivatives of one problem by torch.func, see _implicit.Differentiated."""

    def __init__(self, model: Model, t: Tensor, given: list[Tensor], count: int, ridge: float) -> None:
        self.model, self.t, self.given, self.count, self.ridge = model, t, given, count, ridge
        self.constants = given[2:]

    def columns(self, w: Array) -> Array:
        """Phi (N, I)."""
        with torch.no_grad():
            phi = self.model(self.t, torch.as_tensor(w), *self.constants)
        if not isinstance(phi, Tensor):
            raise ShapeError(f"the model returned {type(phi).__name__}; it needs a tensor (N, I)")
        return phi.numpy(force=True)

    def slopes(self, w: Array) -> Array:
        """dPhi / dw, (N, I, P)."""
        return torch.func.jacfwd(lambda u: self.model(self.t, u, *self.constants))(torch.as_tensor(w)).numpy()

    def _cost(self, theta: Tensor, y: Tensor, v: Tensor, *c: Tensor) -> Tensor:
        a = theta[self.count :].reshape(-1, y.shape[1])
        rest = v * (y - self.model(self.t, theta[: self.count], *c) @ a)
        return 0.5 * (rest**2).sum() + 0.5 * self.ridge * (a**2).sum()

    def cost(self, theta: Array) -> float:
        """f"""
        return float(self._cost(torch.as_tensor(theta), *self.given))

    def gradient(self, theta: Array) -> Array:
        """df / dtheta"""
        return torch.func.grad(self._cost)(torch.as_tensor(theta), *self.given).numpy()

    def hessian(self, theta: Array) -> Array:
        """d^2 f / dtheta^2"""
        return torch.func.hessian(self._cost)(torch.as_tensor(theta), *self.given).numpy()

    def adjoint(self, theta: Tensor, z: Tensor) -> list[Tensor]:
        """-z^T d^2 f / dtheta dx for each x among y, the weights and the constants; NaN without a solution."""
        if not torch.isfinite(theta).all():
            return [torch.full_like(x, torch.nan) for x in self.given]
        with torch.enable_grad():
            at = theta.clone().requires_grad_(True)
            inputs = [x.clone().requires_grad_(True) for x in self.given]
            (slope,) = torch.autograd.grad(self._cost(at, *inputs), at, create_graph=True)
            found = torch.autograd.grad(-(slope * z).sum(), inputs, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]
