"""Small problems for the tests on the host shim: data, states, and one call of the driver."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from varpro import _cpu
from varpro.fitting import form
from varpro.fitting.options import INITIAL_DAMPING, STEP_BOUND, fit_damping
from varpro.kernels import small_fits
from varpro.kernels.search import Rules
from varpro.models import Constant, Exponentials, Gaussians, Lorentzians, Polynomial
from varpro.search.termination import Termination, rules_of

MODELS = {
    "decays": (Exponentials(2, offset=True), [0.9, 4.0]),
    "rates": (Exponentials(2, rates=True), [1.3, 0.3]),
    "decay": (Exponentials(1), [2.0]),
    "gaussians": (Gaussians(2, offset=True), [3.0, 0.8, 7.0, 1.5]),
    "lorentzians": (Lorentzians(1), [4.0, 1.0]),
    "sum": (Exponentials(1) + Gaussians(1) + Constant(), [3.0, 5.0, 0.7]),
    "with a line": (Exponentials(1) + Polynomial(1), [2.0]),
}
DOUBLE, SINGLE, POLISHED = 0, 1, 2
"""Arithmetic in csrc/kernels/small_fits.hpp"""
MOST = form.SMALL_COLUMNS, form.SMALL_RIGHT, form.SMALL_PAIRS


def rules(**changed: float) -> Rules:
    """Those of a batch, with the limit of the device, changed by name."""
    values = rules_of(
        fit_damping(INITIAL_DAMPING, STEP_BOUND), Termination(), condition_limit=small_fits.GRAM_LIMIT
    ).by_name()
    assert not changed.keys() - values.keys()
    return Rules(**values | changed)


def in_order(the_rules: Rules) -> list[float]:
    """As the struct of search.hpp has them."""
    named = the_rules.by_name()
    return [named[name] for name in _cpu.search_rules]


@dataclass
class Problems:
    """B problems of a model; t (1 or B, N), y (B, N, K), weights (1 or B, N) or None, w0 (B, P)."""

    model: Any
    t: np.ndarray
    y: np.ndarray
    w0: np.ndarray
    weights: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def pairs(self):
        return small_fits.Pairs(*self.model.pairs.astype(np.int32).T.copy())

    @property
    def program(self):
        return small_fits.encode(self.model.program())

    @property
    def n_columns(self):
        return len(self.model.column_names)

    def states(self):
        return small_fits.States(self.w0, self.n_columns, self.y.shape[2])

    def some(self, rows):
        own = {
            name: None if a is None else (a if len(a) == 1 else a[rows])
            for name, a in (("t", self.t), ("weights", self.weights))
        }
        return replace(self, y=self.y[rows], w0=self.w0[rows], **own)

    def columns(self, w, rows):
        """Phi and D at w of problems `rows`, by NumPy."""
        t = [self.t[0 if len(self.t) == 1 else row] for row in rows]
        phi = np.stack([self.model(one, v) for one, v in zip(t, w, strict=True)])
        return phi, np.stack([self.model.columns(one, v) for one, v in zip(t, w, strict=True)])


def problems(name="decays", n=64, b=3, k=1, *, noise=0.01, grid="equidistant", weighted=None, seed=0, **options):
    model, w = MODELS[name]
    rng = np.random.default_rng(seed + n)
    t = np.linspace(0, 10, n)[None] if n > 1 else np.array([[0.7]])
    if grid == "own":
        t = np.sort(rng.uniform(0, 10, (b, n)), axis=1)
        t[0] = np.linspace(0, 9, n)  # one of them equidistant
    elif grid == "irregular":
        t = np.sort(rng.uniform(0, 10, (1, n)), axis=1)
    true = np.array(w) * rng.uniform(0.95, 1.05, (b, len(w)))
    phi = np.stack([model(row, v) for row, v in zip(np.broadcast_to(t, (b, n)), true, strict=True)])
    y = phi @ rng.uniform(1, 2, (b, phi.shape[2], k))
    y += noise * rng.standard_normal(y.shape)
    weights = {None: None, "shared": rng.uniform(0.5, 2, (1, n)), "own": rng.uniform(0.5, 2, (b, n))}[weighted]
    starts = np.array(w) * rng.uniform(0.9, 1.1, (b, len(w)))
    return Problems(model, t, y, starts, weights, options)


def on_cpu(given, the_rules, states=None):
    """The states after the CPU's search."""
    states = states or given.states()
    small_fits.search_program(
        given.program, given.t, given.y, np.arange(len(given.y)), given.pairs, states, the_rules,
        weights=given.weights, **given.options,
    )  # fmt: skip
    return states


def launch(driver, kernel, given, the_rules, states, **more):
    """The states after a call of the kernel, one array for each order."""
    n_states = len(states.rows)
    shape = {"count": len(given.y), "n": given.y.shape[1], "i": given.n_columns, "k": given.y.shape[2]}
    arguments = {
        **shape, "m": len(given.pairs.columns), "p": states.p, "stride": states.rows.shape[1], "n_states": n_states,
        "y": given.y, "weights": given.weights, "columns": given.pairs.columns, "parameters": given.pairs.parameters,
        "own_t": len(given.t) > 1, "own_weights": given.weights is not None and len(given.weights) > 1,
        "states": states.rows, "rules": np.append(in_order(the_rules), given.options.get("ridge", 0.0)),
        "kaufman": given.options.get("kaufman", False), "y_is_float": given.y.dtype == np.float32,
        "phi_is_float": False, "in_turn": 0,
    } | more  # fmt: skip
    results = []
    for written in driver(kernel, **arguments):
        out = given.states() if n_states == len(given.y) else small_fits.States(np.zeros((n_states, states.p)), 1, 1)
        out.rows = np.frombuffer(written).reshape(states.rows.shape).copy()
        results.append(out)
    return results


def search(driver, given, the_rules=None, arithmetic=DOUBLE, states=None, **more):
    """The states after the search; the same in every order, or the test fails."""
    the_rules = rules() if the_rules is None else the_rules
    found = launch(
        driver, "small_searches", given, the_rules, states or given.states(), program=given.program, t=given.t,
        arithmetic=arithmetic, **more,
    )  # fmt: skip
    assert all(np.array_equal(one.rows, found[0].rows, equal_nan=True) for one in found), "the order shows"
    return found[0]
