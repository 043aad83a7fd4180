"""Checks of what the caller of a fit passes in: starts, limits on amplitudes, enough data, threads."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from varpro.arrays import Array, ArrayLike, Device
from varpro.errors import BackendError, ConfigError, DataError, ShapeError
from varpro.fitting.containers import plain_array
from varpro.fitting.data import Data
from varpro.fitting.linear_part import Linear
from varpro.fitting.model import Function, Guesses
from varpro.fitting.options import Limits, Ridge
from varpro.fitting.parameters import Parameters
from varpro.fitting.spec import Spec
from varpro.fitting.starts import guessed_start
from varpro.result import Status
from varpro.search.device import DeviceSearch


def starting_values(model: Function, data: Data, w0: ArrayLike | None) -> Array:
    """(B, P) starting values: a copy of the caller's, or a guess from the data.  Raises ConfigError, ShapeError."""
    n_problems = len(data.y)
    if w0 is None:
        if not isinstance(model, Guesses):
            raise ConfigError(
                "w0 is missing: give starting values, or use a ready model of varpro.models, which guesses"
            )
        w0 = guessed_start(model, data)
    given, absent = plain_array(w0, "w0")
    start = np.atleast_1d(given)
    if start.dtype.kind not in "fciub":
        raise ShapeError(f"w0 has dtype {start.dtype}; it needs numbers")
    start = start.astype(complex if np.iscomplexobj(start) else float)
    if start.ndim == 1:
        start = np.repeat(start[None], n_problems, axis=0)
    if start.ndim != 2 or len(start) != n_problems or start.shape[1] < 1:
        wanted = "(P,)" if n_problems == 1 else f"(P,) or ({n_problems}, P)"
        raise ShapeError(f"w0 has shape {given.shape}; it needs {wanted} with P of 1 or more")
    if absent is not None or not np.isfinite(start).all():
        raise DataError("w0 holds NaN or infinite values; every start must be finite")
    return start


def natural_bounds(model: Function, data: Data) -> tuple[Array, Array] | None:
    """(P,) lower and upper bounds that a ready model sets from the points that count; None where it sets none."""
    if not hasattr(model, "natural_bounds") or data.t.dtype.kind != "f" or data.t.ndim != 1 + data.own_t:
        return None
    grid = data.t if data.own_t else data.t[None]
    if model.natural_bounds(grid[0]) is None:
        return None
    kept = list(grid)
    if data.excluded is not None:
        shape = (max(len(grid), len(data.excluded)), grid.shape[1])
        pairs = zip(np.broadcast_to(grid, shape), np.broadcast_to(data.excluded, shape), strict=True)
        kept = [t[~left_out] for t, left_out in pairs]
    found = [bounds for t in kept if len(t) and (bounds := model.natural_bounds(t)) is not None]
    if not found:
        return None
    lower, upper = zip(*found, strict=True)
    return np.min(lower, axis=0), np.max(upper, axis=0)


def into_natural(model: Function, w0: Array, parameters: Parameters) -> Array:
    """(B, F) free starts; where w0 (B, P) lies outside the model's own bounds, the equivalent point inside them."""
    u0: Array = w0.copy() if parameters.plain else w0[:, parameters.free]
    if not hasattr(model, "folded") or np.iscomplexobj(w0) or not parameters.bounded:
        return u0
    lower, upper = (np.broadcast_to(bound, u0.shape) for bound in (parameters.lower, parameters.upper))
    asked = (u0 >= parameters.limits[0][parameters.free]) & (u0 <= parameters.limits[1][parameters.free])
    outside = asked & ((u0 < lower) | (u0 > upper))
    return np.where(outside, np.clip(model.folded(w0)[:, parameters.free], lower, upper), u0) if outside.any() else u0


def linear_options(
    linear: Limits, equality: tuple[ArrayLike, ArrayLike] | None, ridge: Ridge, pinned: bool, unit: float = 1.0
) -> Linear:
    """What the user asks of the amplitudes; bounds still (1,) or (I,).  Raises ConfigError.

    unit : what the weights have been divided by; the ridge is divided by it as well.
    """
    lower = upper = None
    if isinstance(linear, str):
        if linear not in ("free", "nonnegative"):
            raise ConfigError(f"linear is {linear!r}; choose 'free', 'nonnegative' or (lower, upper)")
        if linear == "nonnegative":
            lower, upper = np.zeros(1), np.full(1, np.inf)
    else:
        try:
            lower, upper = (np.atleast_1d(np.asarray(bound, dtype=float)) for bound in linear)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"linear is {linear!r}; choose 'free', 'nonnegative' or (lower, upper)") from error
    pair = None
    if equality is not None:  # copies, since the result keeps them
        pair = (
            np.atleast_2d(np.array(equality[0], dtype=float)),
            np.atleast_1d(np.array(equality[1], dtype=float)),
        )
    mu, rows = 0.0, None
    if isinstance(ridge, str):
        if ridge != "gcv":
            raise ConfigError(f"ridge is {ridge!r}; give a number, a matrix, 'gcv' or ('second-difference', 'gcv')")
    elif isinstance(ridge, tuple) and len(ridge) == 2 and isinstance(ridge[0], str):
        pass  # made when the number of amplitudes is known: see fitting.smoothness
    elif np.ndim(ridge) == 2:
        rows = np.array(ridge, dtype=float) / unit
    else:
        mu = float(ridge)  # type: ignore[arg-type]
        if not mu >= 0:
            raise ConfigError(f"ridge is {mu}; it needs 0 or more")
        mu = mu / unit / unit
    return Linear(lower=lower, upper=upper, equality=pair, ridge=mu, ridge_matrix=rows, pinned=pinned)


def checked_linear(linear: Linear, n_amplitudes: int) -> Linear:
    """The bounds, checked and written out for every amplitude.  Raises ShapeError, ConfigError."""
    if linear.lower is None or linear.upper is None:
        return linear
    if linear.lower.size not in (1, n_amplitudes) or linear.upper.size not in (1, n_amplitudes):
        raise ShapeError(
            f"linear: bounds of {linear.lower.size} and {linear.upper.size} amplitudes; the model has {n_amplitudes}"
        )
    lower, upper = (np.broadcast_to(b, (n_amplitudes,)).copy() for b in (linear.lower, linear.upper))
    empty = np.flatnonzero(~(lower < upper))
    if empty.size:
        i = int(empty[0])
        raise ConfigError(f"linear: amplitude {i} has the empty interval {lower[i]:g} to {upper[i]:g}")
    return replace(linear, lower=lower, upper=upper)


def require_start_inside(u0: Array, parameters: Parameters) -> None:
    """Raise ConfigError where a free start (B, F) lies outside its bounds, naming the parameter that has the bounds."""
    outside = (u0 < parameters.lower) | (u0 > parameters.upper)
    if not outside.any():
        return
    b, f = (int(i) for i in np.argwhere(outside)[0])
    leader = int(parameters.free[f])
    w, (lower, upper) = parameters.expand(u0)[b], parameters.limits
    group = np.flatnonzero(parameters.source == f)
    p = next((int(p) for p in (leader, *group) if not lower[p] <= w[p] <= upper[p]), leader)
    start = f"w0 of {parameters.names[leader]} is {u0[b, f]:g}"
    if p != leader:
        start += f", which makes {parameters.names[p]} {w[p]:g}"
    raise ConfigError(f"{start}, outside its bounds {lower[p]:g} to {upper[p]:g}")


def require_fittable(spec: Spec) -> None:
    """Raise where the one problem cannot be fitted, which is the caller's mistake."""
    if spec.complex_data and spec.linear.lower is not None:
        raise ConfigError("bounds on amplitudes need real ones; y or the model is complex")
    if spec.data.status[0] == Status.INVALID_DATA.value:
        raise DataError("y holds an infinite value; mask it or set it to NaN")
    values = int(spec.data.valid[0]) * spec.parts
    needed = int(spec.n_parameters[0])
    if values < needed and not spec.ridged:
        raise ShapeError(
            f"{values} valid values for {needed} parameters ({spec.names.n_free} nonlinear, the others linear); "
            "take more data, fix parameters, or give a ridge"
        )


def flag_short(spec: Spec) -> Spec:
    """Flag the problems of a batch that have fewer valid values than parameters."""
    if spec.complex_data and spec.linear.lower is not None:
        raise ConfigError("bounds on amplitudes need real ones; y or the model is complex")
    values = spec.data.valid * spec.parts
    short = (values < spec.n_parameters) & (spec.data.status == Status.RUNNING.value)
    return replace(spec, data=replace(spec.data, status=np.where(short, Status.TOO_FEW_POINTS.value, spec.data.status)))


def with_threads(spec: Spec, threads: int | None) -> Spec:
    """The number of threads: as requested, else all cores for a compiled model and one for a Python function."""
    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; it needs 1 or more")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return replace(spec, threads=threads or (cores if spec.model.program is not None else 1))


def amplitude_names(model: Function, names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """Names of `count` columns: those given, else the model's, else a_0, a_1, ..."""
    given = names if names is not None else getattr(model, "column_names", None)
    if given is not None and len(given) != count:
        raise ConfigError(f"linear_names has {len(given)} entries; the model has {count} columns")
    return tuple(given) if given is not None else tuple(f"a_{i}" for i in range(count))


def check_backend(backend: str) -> None:
    """Raise ConfigError for an unknown backend, BackendError if a single fit asks for a GPU."""
    _require_known(backend)
    if backend == "cuda":
        raise BackendError("one fit runs on the CPU; backend='cuda' is for many at once, with varpro.fit_batch")


def choose_search(backend: str, dtype: type | str | None, polish: bool) -> DeviceSearch | None:
    """The GPU for backend 'cuda', None for the CPU.  Raises BackendError if no GPU can be used."""
    _require_known(backend)
    single = dtype is not None and np.dtype(dtype) == np.float32
    if polish and not (single and backend == "cuda"):
        raise ConfigError("polish goes with backend='cuda' and dtype=float32: elsewhere every sum is in float64")
    return DeviceSearch(Device.choose(), single, polish) if backend == "cuda" else None


def _require_known(backend: str) -> None:
    if backend not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"backend is {backend!r}; choose 'auto', 'cpu' or 'cuda'")
