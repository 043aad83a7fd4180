"""A fit as a differentiable function: gradients of its solution by the implicit function theorem.

    theta(y, v, c) = argmin f,   f = 1/2 ||v o (y - Phi(t, w, c) A)||^2 + 1/2 mu ||A||^2,   theta = (w, A)
    df/dtheta = 0 at the solution, so   dtheta/dx = -(d^2 f / dtheta^2)^-1 d^2 f / dtheta dx   for x = y, v, c

The whole Hessian is used, not its Gauss-Newton part: differences agree with it to rounding whatever the residual is.
Each problem of a batch has its own, of the size P + I K.  Fundamental in implicit layers; Golub and Pereyra, Inverse
Problems 19 (2003) R1-R26, for the functional.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import varpro
from varpro.adapters.torch.bridge import Context
from varpro.arrays import Array
from varpro.errors import ConfigError, ShapeError

Tensor = torch.Tensor
Model = Callable[..., Tensor]
"""(t, w) -> (N, I), or (t, w, constants) -> (N, I), in PyTorch; t (N, ...), w (P,), constants (C,)"""
OPTIONS = ("max_iterations", "cost_tolerance", "step_tolerance", "gradient_tolerance", "bounds")
EXACT = float(np.finfo(float).eps)
"""Share of the data below which a residual sum of squares is rounding."""
SMALL = 1e-7
"""Relative length of a step of Newton's method that is the last."""
NEWTON = 4
"""Most steps of Newton's method after a search: the gradient is that of the minimum, so its place must be exact."""


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
    weights : (N,) or the shape of y, factors on the residual.  constants : (C,) or (B, C), what the model knows and the
        fit leaves as it is.  ridge : mu of mu ||A||^2.  strict : raise ConfigError where a search did not converge;
        otherwise its results and gradients are NaN.  options : max_iterations, tolerances and bounds of `varpro.fit`;
        a parameter that ends on a bound has the gradient 0.
    Returns w (P,) and A (I,) or (I, K), with the axis B in front for a batch; dtype and device of y, the search itself
        in float64 on the CPU.  First derivatives only.

    Raises ShapeError, ConfigError or DataError for input that cannot be fitted.
    """
    unknown = sorted(options.keys() - set(OPTIONS))
    if unknown:
        raise TypeError(f"fit_layer takes no {unknown[0]}; its options are {', '.join(OPTIONS)}")
    several = w0.ndim == 2 or (constants is not None and constants.ndim == 2)
    if y.ndim not in ((2, 3) if several else (1, 2)):
        wanted = "(B, N) or (B, N, K)" if several else "(N,) or (N, K)"
        raise ShapeError(f"y has shape {tuple(y.shape)}; with w0 of {tuple(w0.shape)} it needs {wanted}")
    flat, batched = y.ndim == (2 if several else 1), y if several else y[None]
    values = batched[..., None] if flat else batched
    count, n, _ = values.shape
    if t.shape[0] != n:
        raise ShapeError(f"t has {t.shape[0]} points, y has {n}; both need the same")
    start = w0.detach() if w0.ndim == 2 else w0.detach().expand(count, -1)
    given = None if constants is None else constants if constants.ndim == 2 else constants.expand(count, -1)
    if len(start) != count or (given is not None and len(given) != count):
        others = count if given is None else len(given)
        raise ShapeError(f"y has {count} problems, w0 {len(start)}, constants {others}; all need the same")
    factor = _factors(weights, y, values)
    w, a = _Fit.apply(model, t, values, start, factor, given, ridge, strict, options)
    a = a[..., 0] if flat else a
    return (w, a) if several else (w[0], a[0])


def _factors(weights: Tensor | None, y: Tensor, values: Tensor) -> Tensor:
    """(B, N, K) the weights written out."""
    if weights is None:
        return torch.ones_like(values)
    if weights.shape == y.shape:
        return weights.reshape(values.shape)
    if weights.shape == values.shape[1:2]:
        return weights[None, :, None].expand(values.shape)
    raise ShapeError(f"weights have shape {tuple(weights.shape)}; they need {(values.shape[1],)} or {tuple(y.shape)}")


class _Fit(torch.autograd.Function):
    """The search, and the implicit function theorem as its backward pass."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Context, model: Model, t: Tensor, y: Tensor, w0: Tensor, v: Tensor, c: Tensor | None, ridge: float,
        strict: bool, options: dict[str, Any],
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        found = []
        for b in range(len(y)):
            own = None if c is None else _double(c[b])
            found.append(_searched(model, _double(t), y[b], w0[b], v[b], own, ridge, strict, options))
        w, a, held = (torch.stack(parts) for parts in zip(*found, strict=True))
        ctx.save_for_backward(t, y, v, torch.empty(0) if c is None else c, w, a, held)
        ctx.model, ctx.ridge, ctx.constant = model, ridge, c is not None
        return w.to(y), a.to(y)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Context, by_w: Tensor, by_a: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        t, y, v, c, w, a, held = (x.detach() for x in ctx.saved_tensors)
        out_y, out_v, out_c = torch.zeros_like(y), torch.zeros_like(v), torch.zeros_like(c)
        for b in range(len(y)):
            own = [_double(x) for x in (y[b], v[b], *((c[b],) if ctx.constant else ()))]
            theta = torch.cat([w[b], a[b].ravel()])
            seen = torch.cat([by_w[b], by_a[b].ravel()]).to(theta)
            grads = _implicit(ctx.model, t.to(own[0]), theta, own, a[b].shape, ctx.ridge, held[b], seen)
            out_y[b], out_v[b] = grads[0].to(out_y), grads[1].to(out_v)
            if ctx.constant:
                out_c[b] = grads[2].to(out_c)
        return None, None, out_y, None, out_v, out_c if ctx.constant else None, None, None, None


def _double(x: Tensor) -> Tensor:
    """In double precision on the host, without a gradient."""
    return x.detach().to(dtype=torch.float64, device="cpu")


def _searched(
    model: Model, t: Tensor, y: Tensor, w0: Tensor, v: Tensor, c: Tensor | None, ridge: float, strict: bool,
    options: dict[str, Any],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """w (P,), A (I, K) and which parameters are on a bound (P,) bool, of one problem."""
    more = () if c is None else (c,)
    count = w0.numel()

    def phi(points: Array, w: Array) -> Array:
        with torch.no_grad():
            return model(t, torch.as_tensor(w), *more).numpy()

    columns = phi(t.numpy(), _double(w0).numpy()).shape[-1]
    pairs = np.array([(j, p) for j in range(columns) for p in range(count)])

    def slopes(points: Array, w: Array) -> Array:
        d = torch.func.jacfwd(lambda u: model(t, u, *more))(torch.as_tensor(w))
        return d.reshape(len(t), -1).numpy()

    weights, right = _double(v).numpy(), _double(y).numpy()
    fit = varpro.fit(
        phi, t.numpy(), right, _double(w0).numpy(), derivative=(pairs, slopes), ridge=ridge,
        weights=None if (weights == 1).all() else weights[:, 0] if (weights == weights[:, :1]).all() else weights,
        **options,
    )  # fmt: skip
    exact = fit.rss <= EXACT * float(np.sum((weights * right) ** 2))  # there no step can lower the cost any more
    if not (fit.success or (fit.status == varpro.Status.STALLED and exact)):
        if strict:
            raise ConfigError(f"a fit of the layer did not converge: {fit.message}")
        w, a = (torch.full_like(torch.as_tensor(x), torch.nan) for x in (fit.nonlinear, fit.linear))
        return w, a, torch.zeros(count, dtype=torch.bool)
    held = torch.as_tensor(np.isnan(fit.stderr_nonlinear))
    theta = torch.cat([torch.as_tensor(fit.nonlinear), torch.as_tensor(fit.linear).ravel()])
    cost = _cost_of(model, t, torch.Size(fit.linear.shape), ridge, count)
    theta = _polished(lambda at: cost(at, torch.as_tensor(right), torch.as_tensor(weights), *more), theta, held)
    return theta[:count], theta[count:].reshape(fit.linear.shape), held


def _cost_of(model: Model, t: Tensor, shape: torch.Size, ridge: float, count: int) -> Callable[..., Tensor]:
    """f(theta, y, weights, constants) of one problem; count is P, shape (I, K)."""

    def cost(at: Tensor, y: Tensor, v: Tensor, *c: Tensor) -> Tensor:
        a = at[count:].reshape(shape)
        rest = v * (y - model(t, at[:count], *c) @ a)
        return 0.5 * (rest**2).sum() + 0.5 * ridge * (a**2).sum()

    return cost


def _free(held: Tensor, theta: Tensor) -> Tensor:
    """Which of the parameters and amplitudes vary, bool."""
    return torch.cat([~held, torch.ones(len(theta) - len(held), dtype=torch.bool)])


def _solved(hessian: Tensor, right: Tensor) -> Tensor:
    """H^-1 right, columns scaled to a unit diagonal; of least norm where H is singular."""
    scale = hessian.diagonal().abs().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    unit = hessian / scale[:, None] / scale
    return torch.linalg.lstsq(unit, (right / scale)[:, None], driver="gelsd").solution[:, 0] / scale


def _polished(cost: Callable[[Tensor], Tensor], theta: Tensor, held: Tensor) -> Tensor:
    """The minimum near theta, by steps of Newton's method as long as they lower the gradient."""
    free = _free(held, theta)
    slope = torch.func.grad(cost)
    now = slope(theta)
    for _ in range(NEWTON):
        step = torch.zeros_like(theta)
        step[free] = _solved(torch.func.hessian(cost)(theta)[free][:, free], now[free])
        after = slope(theta - step)
        if not (after[free].norm() < now[free].norm() and (cost(theta - step) <= cost(theta) * (1 + 1e-9))):
            break
        small = bool(step.norm() <= SMALL * theta.norm())
        theta, now = theta - step, after
        if small:  # the next step would be of the order of its square
            break
    return theta


def _implicit(
    model: Model, t: Tensor, theta: Tensor, given: list[Tensor], shape: torch.Size, ridge: float, held: Tensor,
    seen: Tensor,
) -> list[Tensor]:  # fmt: skip
    """-seen^T H^-1 d^2 f / dtheta dx for each x among y, the weights and the constants.

    given : y (N, K), weights (N, K), and the constants if there are any.  held : (P,) on a bound, which does not move.
    """
    if not torch.isfinite(theta).all():
        return [torch.full_like(x, torch.nan) for x in given]
    count = len(held)

    cost, free, z = _cost_of(model, t, shape, ridge, count), _free(held, theta), torch.zeros_like(theta)
    hessian = torch.func.hessian(cost)(theta, *given)[free][:, free]
    z[free] = _solved(hessian, seen[free])
    with torch.enable_grad():
        at = theta.clone().requires_grad_(True)
        inputs = [x.clone().requires_grad_(True) for x in given]
        (slope,) = torch.autograd.grad(cost(at, *inputs), at, create_graph=True)
        found = torch.autograd.grad(-(slope * z).sum(), inputs, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]
