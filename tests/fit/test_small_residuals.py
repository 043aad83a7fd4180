"""Gradients where the residual is small beside the data and the derivatives almost lie in the range of the columns."""

from typing import Any

import numpy as np
import pytest

import varpro
from varpro.problems.separable import SeparableProblem
from varpro.problems.separate import SeparateProblem

T = np.linspace(0.0, 4.0, 60)
W = np.array([1.26, 1.285])
PAIRS = np.array([[0, 0], [1, 1]])


class Decays:
    """Two close decays and an offset, as the problems see them."""

    columns, parameters, n_columns, extra_rows = PAIRS[:, 0].astype(np.int32), PAIRS[:, 1].astype(np.int32), 3, None

    def basis(self, w: Any, problems: Any = None, *, kind: Any = np.float64) -> Any:
        t, v = T.astype(kind), w.astype(kind)[..., None]
        return np.stack([np.exp(-t / v[..., 0, :]), np.exp(-t / v[..., 1, :]), np.ones_like(t * v[..., 0, :])], axis=-1)

    def jacobian(self, w: Any, problems: Any = None, dtype: str = "float64", *, kind: Any = np.float64) -> Any:
        v = w.astype(kind)[..., None, :]
        return self.basis(w, kind=kind)[..., :2] * T.astype(kind)[:, None] / v**2


def data(noise: float) -> np.ndarray:
    model = Decays()
    y = model.basis(W) @ np.array([2.7, 3.4, 12.0])
    return y + noise * np.random.default_rng(3).standard_normal(len(T))


def extended(w: np.ndarray, y: np.ndarray, mu: float) -> tuple[np.ndarray, float]:
    """The gradient by Golub and Pereyra's formula in extended precision, and the scale of its terms."""
    model, kind = Decays(), np.longdouble
    phi, d = model.basis(w, kind=kind), model.jacobian(w, kind=kind)
    rows = np.concatenate([phi, np.sqrt(kind(mu)) * np.eye(3, dtype=kind)])
    rhs = np.concatenate([y.astype(kind), np.zeros(3, dtype=kind)])
    q = np.zeros_like(rows)
    r = np.zeros((3, 3), dtype=kind)
    for j in range(3):  # Gram and Schmidt, twice
        v = rows[:, j].copy()
        for _ in range(2):
            part = q[:, :j].T @ v
            r[:j, j] += part
            v -= q[:, :j] @ part
        r[j, j] = np.sqrt(v @ v)
        q[:, j] = v / r[j, j]
    b, a = q.T @ rhs, np.zeros(3, dtype=kind)
    for j in (2, 1, 0):
        a[j] = (b[j] - r[j, j + 1 :] @ a[j + 1 :]) / r[j, j]
    residual = rhs - q @ b
    residual -= q @ (q.T @ residual)
    tall = np.concatenate([d, np.zeros((3, 2), dtype=kind)])
    outside = tall - q @ (q.T @ tall)
    scale = np.sqrt((outside**2).sum(axis=0)) * np.abs(a[:2]) * np.sqrt(residual @ residual)
    return np.asarray(-(d.T @ residual[: len(T)]) * a[:2], dtype=float), float(scale.max())


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="the reference needs extended precision")
@pytest.mark.parametrize("mu", [0.0, 1e-9])
@pytest.mark.parametrize("noise", [1e-4, 1e-8])
def test_gradient_of_shared_columns(noise: float, mu: float) -> None:
    y, w = data(noise), W * np.array([1.0002, 0.9998])
    problem = SeparableProblem(model=Decays(), y=y[None, :, None], ridge=mu, diagonal_floor=0.0)
    found = problem.linearise(problem.evaluate(w[None], np.arange(1))).gradient[0]
    wanted, scale = extended(w, y, mu)
    assert np.abs(found - wanted).max() <= 1e-5 * scale


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="the reference needs extended precision")
@pytest.mark.parametrize("noise", [1e-4, 1e-8])
def test_gradient_within_bounds(noise: float) -> None:
    y, w = data(noise), W * np.array([1.0002, 0.9998])
    problem = SeparateProblem(
        Decays(), y[None, :, None], None, pinned=False, lower=np.zeros(3), upper=np.full(3, np.inf)
    )
    found = problem.linearise(problem.evaluate(w[None], np.arange(1))).gradient[0]
    wanted, scale = extended(w, y, 0.0)
    assert np.abs(found - wanted).max() <= 1e-5 * scale


def basis(t: Any, w: Any) -> Any:
    return np.stack(np.broadcast_arrays(np.exp(-t / w[0]), np.exp(-t / w[1]), 1.0), axis=-1)


def slopes(t: Any, w: Any) -> Any:
    return np.stack([np.exp(-t / v) * t / v**2 for v in w], axis=-1)


@pytest.mark.parametrize("unit", [1.0, 1e-9])
@pytest.mark.parametrize("batch", [False, True])
def test_bounds_that_hold_nothing_change_nothing(batch: bool, unit: float) -> None:
    """Close decays with a noise of 1e-8: the valley is narrow, and its floor nearly level."""
    y, start = unit * data(1e-8), np.array([1.07, 1.9])

    def solve(linear: Any) -> Any:
        if batch:
            return varpro.fit_batch(basis, T, y[None], start, derivative=(PAIRS, slopes), linear=linear)[0]
        return varpro.fit(basis, T, y, start, derivative=(PAIRS, slopes), linear=linear)

    free, bounded = solve("free"), solve("nonnegative")
    assert free.success
    assert (free.linear > 0).all()
    assert bounded.success
    assert bounded.rss <= free.rss * (1 + 1e-6)
