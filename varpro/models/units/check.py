"""Whether a kind of unit of one's own is sound: shapes, and derivatives compared with central differences.

Done before anything is trained, on two units and a few random images, so it takes a moment.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError, VarproError
from varpro.models.units.interface import BoundUnits, Shape, Units

IMAGES, UNITS_CHECKED, PARAMETERS_CHECKED = 7, 2, 60
EPS = float(np.finfo(np.float64).eps)
STEP = EPS ** (1 / 3)
"""Step of the differences, relative to a parameter: where truncation and rounding balance."""
TOLERANCE = EPS**0.25
"""Accepted error, relative to the derivative; differences have about EPS^(2/3), a wrong formula has 1."""

T = TypeVar("T")
ONE = np.arange(1)


def check_kind(kind: type[Units], shape: Shape, options: Any, sigma: str) -> None:
    """Raise ConfigError, one line, unless units of a kind work on images of a shape and their derivatives are right."""
    rng = np.random.default_rng(0)
    images = rng.random((IMAGES, *shape))
    head = f"model.unit is {kind.kind}; "
    units = _ran(head, shape, "create", lambda: kind.create(shape, UNITS_CHECKED, rng, options))
    w = _ran(head, shape, "start", lambda: units.start(rng, images))
    _require(
        w.shape == (units.n_parameters,) and bool(np.isfinite(w).all()),
        f"{head}its start has shape {w.shape} or numbers that are not finite; {units.n_parameters} numbers are needed",
    )
    w = w + 0.1 * rng.standard_normal(len(w))
    bound = _ran(head, shape, "bind", lambda: units.bind(images, sigma))
    phi = _ran(head, shape, "form", lambda: bound.basis(bound.lower(w)[None], ONE))
    expected = (1, IMAGES, units.n_columns + 1)
    _require(
        phi.shape == expected and bool(np.isfinite(phi).all()),
        f"{head}its columns have shape {phi.shape} or are not finite; {expected} is needed, with the constant last",
    )
    d = _ran(head, shape, "derivative", lambda: bound.jacobian(bound.lower(w)[None], ONE, "float64"))
    expected = (1, IMAGES, len(bound.columns))
    _require(d.shape == expected, f"{head}its derivative has shape {d.shape}; {expected} is needed")
    _check_jacobian(head, bound, bound.lower(w), d[0])
    _ran(head, shape, "at", lambda: _check_products(head, units, w, images, sigma))
    _ran(head, shape, "stored and restored", lambda: _check_storage(head, units, w, images, sigma))


def _check_jacobian(head: str, bound: BoundUnits, w: Array, d: Array) -> None:
    """Compare D with differences, by one parameter after another."""
    owners = np.arange(len(w)) if bound.parameters is None else bound.parameters
    size = float(np.abs(bound.basis(w[None], ONE)).max())
    chosen = np.unique(np.linspace(0, len(w) - 1, min(len(w), PARAMETERS_CHECKED)).astype(int))
    for p in chosen:
        step = STEP * max(1.0, abs(float(w[p])))
        found = np.zeros((len(d), bound.basis(w[None], ONE).shape[2]))
        np.add.at(found.T, bound.columns[owners == p], d[:, owners == p].T)
        sides = [bound.basis((w + sign * step * (np.arange(len(w)) == p))[None], ONE)[0] for sign in (1, -1)]
        difference = (sides[0] - sides[1]) / (2 * step)
        allowed = TOLERANCE * float(np.abs(difference).max()) + 8 * EPS * size / step
        off = np.abs(found - difference)
        if not off.max() <= allowed:
            n, j = np.unravel_index(int(np.argmax(np.where(np.isnan(off), np.inf, off))), off.shape)
            raise ConfigError(
                f"{head}its derivative is wrong: of column {j} by parameter {p}, on a random image, it is "
                f"{found[n, j]:.6g}, and differences give {difference[n, j]:.6g}; mend the derivative"
            )


def _check_products(head: str, units: Units, w: Array, images: Array, sigma: str) -> None:
    """The three products of a whole network with D are those of D itself."""
    rng = np.random.default_rng(1)
    at, bound = units.at(w, sigma), units.bind(images, sigma)
    phi = at.phi(images)
    v, weights = rng.standard_normal(len(w)), rng.standard_normal((len(images), units.n_columns))
    step = STEP * max(1.0, float(np.abs(w).max()))
    ahead, behind = (units.at(w + sign * step * v, sigma).phi(images)[:, :-1] for sign in (1, -1))
    along, difference = at.direction(v)(images, phi), (ahead - behind) / (2 * step)
    summed = at.gradient(at.contraction(images, phi, weights.copy()))
    pairs = {
        "phi of `at`": (phi, bound.basis(bound.lower(w)[None], ONE)[0]),
        "`direction`": (along, difference),
        "`contraction`": (np.array([summed @ v]), np.array([np.sum(weights * along)])),
    }
    for name, (found, expected) in pairs.items():
        scale = float(np.abs(expected).max()) if name != "`contraction`" else float(np.abs(weights * along).sum())
        close = found.shape == expected.shape and bool((np.abs(found - expected) <= TOLERANCE * scale + EPS).all())
        _require(close, f"{head}{name} does not agree with `bind` and its differences; mend it")


def _check_storage(head: str, units: Units, w: Array, images: Array, sigma: str) -> None:
    again = type(units).restored(units.shape, units.count, units.stored())
    same = np.array_equal(again.at(w, sigma).phi(images), units.at(w, sigma).phi(images))
    _require(same, f"{head}what `restored` makes of `stored` has other columns; store all that a unit needs besides w")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _ran(head: str, shape: Shape, what: str, call: Callable[[], T]) -> T:
    """What a call returns; whatever it raises becomes one line."""
    try:
        return call()
    except VarproError:
        raise
    except Exception as error:  # the user's code may raise anything
        said = " ".join(str(error).split())
        raise ConfigError(
            f"{head}`{what}` fails on images of {' x '.join(map(str, shape))}: {type(error).__name__} ({said}); mend it"
        ) from error
