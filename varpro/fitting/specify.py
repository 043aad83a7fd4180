"""From the options of a fit to its specification."""

from collections.abc import Sequence

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.arguments import (
    checked_linear,
    into_natural,
    linear_options,
    natural_bounds,
    require_start_inside,
)
from varpro.fitting.data import Data
from varpro.fitting.fixed_term import with_fixed_term
from varpro.fitting.make_model import Displaced, make_model, scale_of
from varpro.fitting.model import Function
from varpro.fitting.options import CommonOptions
from varpro.fitting.parameters import Parameters, make_parameters
from varpro.fitting.spec import Spec


def specify(
    options: CommonOptions, model: Function, data: Data, w0: Array, *, batch: bool, guessed: bool = False
) -> tuple[Spec, Array]:
    """The specification and the free starting values (B, F), from w0 (B, P).

    guessed : w0 comes from the data, which know nothing of bounds, so it is moved into them.  Raises ShapeError,
        ConfigError.
    """
    if options.jacobian not in ("golub-pereyra", "kaufman"):
        raise ConfigError(f"jacobian is {options.jacobian!r}; choose 'golub-pereyra' or 'kaufman'")
    linear = linear_options(
        options.linear, options.linear_equality, options.ridge, options.fixed_term is not None, data.weight_unit
    )
    function = with_fixed_term(model, options.fixed_term, options.fixed_term_derivative)
    real, labels = _real_parameters(model, w0, options.names)
    names = make_parameters(
        real,
        names=labels,
        bounds=options.bounds,
        fixed=options.fixed,
        tied=options.tied,
        natural=natural_bounds(model, data),
    )
    user = make_model(
        function,
        data.t,
        w0,
        data.y.shape[1],
        own_t=data.own_t,
        derivative=options.derivative,
        batch=batch,
        scale=scale_of(options.scale, names.names[: w0.shape[1]]),
        displaced=lambda: _displaced(names, w0),
        ignored=None if data.excluded is None else np.asarray(data.excluded.all(axis=0)),
    )
    u0 = into_natural(model, real, names)
    if guessed:
        u0 = np.clip(u0, names.lower, names.upper)
    require_start_inside(u0, names)
    spec = Spec(
        data=data,
        model=user,
        names=names,
        linear=checked_linear(linear, user.n_columns - linear.pinned),
        complex_data=bool(np.iscomplexobj(data.y) or user.is_complex),
        complex_w=np.iscomplexobj(w0),
        kaufman=options.jacobian == "kaufman",
        rank_tolerance=options.rank_tolerance,
        termination=options.termination,
        damping=options.damping,
    )
    return spec, u0


def _displaced(names: Parameters, w0: Array) -> Displaced:
    """Which parameters of the model numeric derivatives may displace, and how far."""
    count = w0.shape[1]
    moves, limits = names.source >= 0, [np.full(len(names.source), end) for end in (-np.inf, np.inf)]
    for p in np.flatnonzero(moves):  # w_p = factor u_f + offset
        f = names.source[p]
        ends = names.factor[p] * np.array([names.lower[f], names.upper[f]]) + names.offset[0, p]
        limits[0][p], limits[1][p] = ends.min(), ends.max()
    moves = np.asarray(names.depends.any(axis=1))  # those that follow an expression, too
    if np.iscomplexobj(w0):  # displaced along the real axis
        moves = moves[:count] | moves[count:]
    return limits[0][:count], limits[1][:count], moves


def _real_parameters(model: Function, w0: Array, names: Sequence[str] | None) -> tuple[Array, Sequence[str] | None]:
    """w0 and its names for real parameters; complex ones become their real parts, then their imaginary parts."""
    labels = names if names is not None else getattr(model, "parameter_names", None)
    if not np.iscomplexobj(w0):
        return w0, labels
    given = labels if labels is not None else [f"w_{p}" for p in range(w0.shape[1])]
    parts = [f"{name}.{part}" for part in ("real", "imag") for name in given]
    return np.concatenate([w0.real, w0.imag], axis=1), parts
