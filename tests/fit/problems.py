"""Small problems that several tests share, and the unseparated scipy fit that they are compared with."""

import numpy as np
import scipy.optimize

EPS = float(np.finfo(float).eps)


def decays(t, w):
    """Two exponentials and a constant; takes complex w, and many problems at once."""
    first, second = np.exp(-t / w[0]), np.exp(-t / w[1])
    return np.stack([first, second, np.ones_like(first)], axis=-1)


def decay_columns(t, w):
    return np.stack([t / v**2 * np.exp(-t / v) for v in w], axis=-1)


DECAY_DERIVATIVE = (np.array([[0, 0], [1, 1]]), decay_columns)
TAU, AMPLITUDES = np.array([1.0, 4.0]), np.array([2.0, 3.0, 0.5])


def decay_data(n=61, noise=0.02, seed=0, right=None, t=None):
    """(t, y) with y (n,), or (n, right)."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0.0, 12.0, n) if t is None else t
    a = AMPLITUDES if right is None else AMPLITUDES[:, None] * rng.uniform(0.5, 1.5, (3, right))
    clean = decays(t, TAU) @ a
    return t, clean + noise * rng.standard_normal(clean.shape)


def central_differences(function, w, relative=1e-6):
    """(len(f), P); the error is about relative^2 f''' + eps f / relative."""
    w = np.asarray(w, dtype=float)
    columns = []
    for p in range(len(w)):
        h = relative * max(abs(w[p]), 1e-3)
        up, down = w.copy(), w.copy()
        up[p] += h
        down[p] -= h
        columns.append((np.asarray(function(up)) - np.asarray(function(down))) / (up[p] - down[p]))
    return np.stack(columns, axis=-1)


def whole_fit(model, t, y, w0, a0, weights=1.0, **options):
    """scipy's least squares over (w, a) together, to rounding: the answer of the unseparated problem."""
    count = len(w0)

    def residual(x):
        return weights * (model(t, x[:count]) @ x[count:] - y)

    def jacobian(x):
        slopes = [(model(t, x[:count] + 1j * 1e-30 * e) @ x[count:]).imag / 1e-30 for e in np.eye(count)]
        return np.reshape(weights * np.ones(len(y)), (-1, 1)) * np.column_stack([*slopes, model(t, x[:count])])

    start = np.concatenate([w0, a0])
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 3000}
    found = scipy.optimize.least_squares(residual, start, jac=jacobian, x_scale="jac", **(tight | options))
    return found.x[:count], found.x[count:], found


def assert_same_minimum(one, other, relative=0.0):
    """Both searches stop where a step promises less than 64 eps of the cost, which is sigma^2 dof / 2:

    |delta w| <= sqrt(64 eps dof) standard errors each, and the amplitudes follow.
    """
    part = 2 * np.sqrt(64 * EPS * max(one.dof, 1))
    for name in ("nonlinear", "linear"):
        found, expected, error = getattr(one, name), getattr(other, name), getattr(other, f"stderr_{name}")
        limit = part * np.abs(np.nan_to_num(error)) + (relative + 1e-12) * np.abs(expected) + 1e-13
        assert (np.abs(found - expected) <= limit).all(), (name, np.max(np.abs(found - expected) / limit))
    np.testing.assert_allclose(one.rss, other.rss, rtol=1e-9)  # with a ridge rss is not at its minimum
