"""A fit as a function of JAX, whose solution has gradients: see varpro.adapters._implicit for the mathematics.

The search runs outside of XLA, on the values, so that `fit_layer` is called outside of jax.jit and jax.vmap; it takes
batches itself.  Its reverse pass is ordinary JAX: jax.grad, jax.vjp and jax.jacrev work.  The model's derivatives are
compiled at the first call and kept: give the same function again, not a new lambda each time.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from varpro.adapters._implicit import Layout, Minimum, check_options, minimum_of, where_finite
from varpro.arrays import Array as HostArray
from varpro.errors import BackendError, ConfigError, ShapeError

try:
    import jax
    import jax.numpy as jnp
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise BackendError("jax is not installed; pip install 'varpro[jax]'") from error

__all__ = ["fit_layer"]

Array = Any
"""jax.Array"""
Model = Callable[..., Array]
"""(t, w) -> (N, I), or (t, w, constants) -> (N, I), in JAX; t (N, ...), w (P,), constants (C,)"""

KEPT = 32
"""Models whose compiled derivatives are kept."""


def fit_layer(
    model: Model,
    t: Array,
    y: Array,
    w0: Array,
    *,
    weights: Array | None = None,
    constants: Array | None = None,
    ridge: float = 0.0,
    strict: bool = True,
    **options: Any,
) -> tuple[Array, Array]:
    """Fit B problems and return their parameters, which have gradients with respect to y, weights and constants.

    model : (t, w) -> (N, I) in JAX, twice differentiable; with constants, (t, w, c) -> (N, I).
    t : (N, ...), shared.  y : (N,), (N, K), or (B, N), (B, N, K) with `w0` (B, P); a y with two axes is a batch if w0
        has two, or if constants have.  w0 : (P,) for all or (B, P), where each search starts; it has no gradient.
    weights : (N,) or the shape of y, factors on the residual; NaN in y or weights leaves a value out, as a weight of 0
        does, whatever y and the model are there.  constants : (C,) or (B, C), what the model knows and the fit leaves
        as it is.  ridge : mu of mu ||A||^2.
    strict : raise ConfigError where a search did not converge, and ShapeError or DataError where a problem has too few
        values or infinite ones; otherwise the results of that problem are NaN, and so are its gradients where the loss
        depends on it.
    options : max_iterations, tolerances and bounds of `varpro.fit`; a parameter on a bound has the gradient 0.
    Returns w (P,) and A (I,) or (I, K), with the axis B in front for a batch; dtype of y, the search itself in float64.
        First derivatives in reverse mode only.

    Raises ShapeError, ConfigError or DataError for input that cannot be fitted, and ConfigError under jax.jit or
    jax.vmap.
    """
    check_options(options)
    y, t, w0 = _floating(y, "y"), _plain(t, "t"), np.atleast_1d(_plain(w0, "w0"))
    weights = None if weights is None else _floating(weights, "weights").astype(y.dtype)
    constants = None if constants is None else jnp.atleast_1d(_floating(constants, "constants"))
    layout = Layout.of(
        t.shape, y.shape, w0.shape,
        None if constants is None else constants.shape, None if weights is None else weights.shape,
    )  # fmt: skip
    values = y.reshape(layout.shape)
    v = jnp.ones_like(values) if weights is None else weights
    factor = jnp.broadcast_to(v[None, :, None], values.shape) if layout.weight_of_rows else v.reshape(values.shape)
    left_out = jnp.isnan(values) | jnp.isnan(factor) | (factor == 0)  # whatever stands there; nothing depends on it
    values, factor = (jnp.where(left_out, 0.0, x) for x in (values, factor))
    given: tuple[Array, ...] = () if constants is None else (constants,)
    given = tuple(jnp.broadcast_to(c, (len(values), c.shape[-1])) for c in given)
    starts = np.broadcast_to(w0, (len(values), w0.shape[-1]))
    solved = _differentiable(model, t, starts, ridge, strict, options)
    w, a = solved(values, factor, *given)
    a = a[..., 0] if layout.flat else a
    return (w, a) if layout.several else (w[0], a[0])


def _differentiable(
    model: Model, t: HostArray, starts: HostArray, ridge: float, strict: bool, options: dict[str, Any]
) -> Callable[..., tuple[Array, Array]]:
    """(y (B, N, K), weights (B, N, K), constants (B, C) if any) -> w (B, P), A (B, I, K), with a reverse pass."""
    functions = _functions(model, starts.shape[1])

    def search(*inputs: Array) -> tuple[list[Minimum], list["_Problem"]]:
        """The minimum of each problem, in float64."""
        arrays, minima, problems = [_seen(x) for x in inputs], [], []
        with jax.enable_x64(True):
            for start, *own in zip(starts, *arrays, strict=True):
                problem = _Problem(functions, t, ridge, own)
                problem = _Problem(functions, where_finite(problem, t, start, own[1]), ridge, own)
                minima.append(
                    minimum_of(problem, problem.t, own[0], start, own[1], ridge=ridge, strict=strict, options=options)
                )
                problems.append(problem)
        return minima, problems

    def results(minima: list[Minimum], like: Array) -> tuple[Array, Array]:
        w, a = (np.stack([getattr(one, name) for one in minima]) for name in ("w", "a"))
        return jnp.asarray(w, dtype=like.dtype), jnp.asarray(a, dtype=like.dtype)

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def solved(*inputs: Array) -> tuple[Array, Array]:
        return results(search(*inputs)[0], inputs[0])

    def forward(*inputs: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        minima, problems = search(*inputs)
        w, a = results(minima, inputs[0])
        with jax.enable_x64(True):
            pairs = zip(minima, problems, strict=True)
            inverses = [found.inverse(problem.hessian(found.theta), strict=strict) for found, problem in pairs]
        places = t if all(problem.t is t for problem in problems) else np.stack([problem.t for problem in problems])
        inverse, at = (jnp.asarray(x, dtype=w.dtype) for x in (np.stack(inverses), places))
        return (w, a), (w, a, inverse, at, inputs)

    def backward(kept: tuple[Array, ...], seen: tuple[Array, Array]) -> tuple[Array, ...]:
        w, a, inverse, at, inputs = kept

        def one(at: Array, w: Array, a: Array, inverse: Array, by: tuple[Array, Array], own: tuple[Array, ...]) -> Any:
            """-z^T d^2 f / dtheta dx of one problem, z = H^-1 times what is seen; 0 if nothing depends on it, not even
            on one without a solution."""
            seen, theta = jnp.concatenate([by[0], by[1].ravel()]), jnp.concatenate([w, a.ravel()])
            _, pull = jax.vjp(lambda *x: functions.gradient(theta, at, ridge, *x), *own)
            return tuple(jnp.where((seen == 0).all(), 0.0, x) for x in pull(-(inverse @ seen)))

        each_t = None if at.ndim == t.ndim else 0
        return tuple(jax.vmap(one, in_axes=(each_t, 0, 0, 0, 0, 0))(at, w, a, inverse, seen, inputs))

    solved.defvjp(forward, backward)
    return solved


def _floating(x: Array, name: str) -> Array:
    """An array of real floating-point numbers.  Raises ShapeError for all else."""
    try:
        array = jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name} is {type(x).__name__}, not an array or a list of numbers: {error}") from error
    if jnp.iscomplexobj(array):
        raise ShapeError(f"{name} is complex; a layer fits real data: real and imaginary parts may be two columns")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


def _plain(x: Array, name: str) -> HostArray:
    """The values of t or w0, which have no gradient, in float64 whatever the precision of JAX is.

    Raises ConfigError for a tracer, ShapeError for all but real numbers.
    """
    exact = isinstance(x, np.ndarray) and x.dtype.kind in "fiub"
    return _seen(x if exact else jax.lax.stop_gradient(_floating(x, name)))


def _seen(x: Array) -> HostArray:
    """The values in float64.  Raises ConfigError for a tracer, which has none."""
    if isinstance(x, jax.core.Tracer):
        raise ConfigError("fit_layer searches outside of XLA; call it outside of jax.jit and jax.vmap, on a batch")
    return np.asarray(x, dtype=np.float64)


class _Functions(NamedTuple):
    """The derivatives of any problem with a model, compiled: of (w or theta, t, ...)."""

    columns: Callable[..., Array]
    slopes: Callable[..., Array]
    cost: Callable[..., Array]
    gradient: Callable[..., Array]
    hessian: Callable[..., Array]


@lru_cache(maxsize=KEPT)
def _functions(model: Model, count: int) -> _Functions:
    """Those of a model with `count` parameters; kept, since compiling takes longer than a fit."""

    def columns(w: Array, t: Array, *c: Array) -> Array:
        return model(t, w, *c)

    def cost(theta: Array, t: Array, ridge: Array, y: Array, v: Array, *c: Array) -> Array:
        a = theta[count:].reshape(-1, y.shape[1])
        rest = v * (y - model(t, theta[:count], *c) @ a)
        return 0.5 * jnp.sum(rest**2) + 0.5 * ridge * jnp.sum(a**2)

    differentiated = columns, jax.jacfwd(columns), cost, jax.grad(cost), jax.hessian(cost)
    return _Functions(*map(jax.jit, differentiated))


class _Problem:
    """The derivatives of one problem, see _implicit.Differentiated."""

    def __init__(self, functions: _Functions, t: HostArray, ridge: float, given: list[HostArray]) -> None:
        self.functions, self.t = functions, t
        self.of_columns, self.of_cost = (t, *given[2:]), (t, ridge, *given)

    def columns(self, w: HostArray) -> HostArray:
        """Phi (N, I)."""
        return np.asarray(self.functions.columns(w, *self.of_columns))

    def slopes(self, w: HostArray) -> HostArray:
        """dPhi / dw, (N, I, P)."""
        return np.asarray(self.functions.slopes(w, *self.of_columns))

    def cost(self, theta: HostArray) -> float:
        """f"""
        return float(self.functions.cost(theta, *self.of_cost))

    def gradient(self, theta: HostArray) -> HostArray:
        """df / dtheta"""
        return np.asarray(self.functions.gradient(theta, *self.of_cost))

    def hessian(self, theta: HostArray) -> HostArray:
        """d^2 f / dtheta^2"""
        return np.asarray(self.functions.hessian(theta, *self.of_cost))
