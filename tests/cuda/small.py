"""Small problems for the tests on the host shim: data, states, and one call of the driver."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tests.kernels.contract import EPS, assert_within
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
COARSE = {"cost_tolerance": 1e-5}
"""So that no search takes a step at rounding level, where chance decides."""
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
    box: tuple[np.ndarray, np.ndarray] | None = None
    """(P,) twice"""
    links: small_fits.Links | None = None
    parts: int = 1
    """2 for complex data: y (B, 2 N, K)"""

    @property
    def pairs(self):
        columns, parameters = self.model.pairs.astype(np.int32).T.copy()
        if self.links is not None:
            followed = self.links.source[parameters]
            columns, parameters = columns[followed >= 0], followed[followed >= 0]
        every = [columns + part * self.n_columns // self.parts for part in range(self.parts)]
        return small_fits.Pairs(np.concatenate(every).astype(np.int32), np.tile(parameters, self.parts))

    @property
    def program(self):
        return small_fits.encode(self.model.program())

    @property
    def n_columns(self):
        return len(self.model.column_names) * self.parts

    def states(self):
        return small_fits.States(self.w0, self.n_columns, self.y.shape[2])

    def some(self, rows):
        own = {
            name: None if a is None else (a if len(a) == 1 else a[rows])
            for name, a in (("t", self.t), ("weights", self.weights))
        }
        links = self.links
        if links is not None and len(links.offset) > 1:
            links = replace(links, offset=links.offset[rows])
        return replace(self, y=self.y[rows], w0=self.w0[rows], links=links, **own)

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
        weights=given.weights, box=given.box, links=given.links, parts=given.parts, **given.options,
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
        "phi_is_float": False, "in_turn": 0, "lower": given.box and given.box[0], "upper": given.box and given.box[1],
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
    if given.links is not None:
        source, factor, offset = given.links.arrays
        stride = 0 if len(offset) == 1 else offset.shape[1]
        more |= {"source": source, "factor": factor, "offset": offset, "offset_stride": stride}
    found = launch(
        driver, "small_searches", given, the_rules, states or given.states(), program=given.program, t=given.t,
        arithmetic=arithmetic, parts=given.parts, **more,
    )  # fmt: skip
    assert all(np.array_equal(one.rows, found[0].rows, equal_nan=True) for one in found), "the order shows"
    return found[0]


def conditions(given, w):
    t = np.broadcast_to(given.t, (len(given.y), given.t.shape[1]))
    every = np.arange(len(given.y))
    out = small_fits.from_program(
        given.program,
        t,
        w,
        given.y,
        every,
        given.pairs,
        weights=given.weights,
        links=given.links,
        parts=given.parts,
        **given.options,
    )
    return out.condition


def assert_same_search(found, expected, given):
    """Trial by trial: the same counts and endings, and numbers off by rounding times the condition of Phi^T Phi, in w
    besides by what rounding of the gradient is worth after the inverse of H."""
    for name in ("status", "evaluations", "iterations"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    rounding = 64 * given.y.shape[1] * EPS
    bound = rounding * conditions(given, expected.w)
    size, h = np.linalg.norm(given.y, axis=(1, 2)), expected.h
    with np.errstate(all="ignore"):
        flat = rounding * size * np.sqrt(np.trace(h, axis1=1, axis2=2)) / np.linalg.eigvalsh(h)[:, 0]
    flat[np.isnan(flat)] = 0.0
    assert_within(found.w, expected.w, (bound * np.abs(expected.w).max(axis=1) + flat)[:, None])
    assert_within(found.cost, expected.cost, bound * expected.cost + (64 * EPS * size) ** 2)
    assert_within(found.a, expected.a, 16 * ((bound + flat) * (np.abs(expected.a).max((1, 2)) + size))[:, None, None])
