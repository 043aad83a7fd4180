"""NullSpaceLoss: exact answers, gradients in every mode, invariances."""

import numpy as np
import pytest
import scipy.linalg

from tests.losses.differences import TOLERANCE, batch, distance, gradient, simplex
from varpro.errors import ConfigError
from varpro.losses import DiscriminantFactors, NullSpaceLoss, Ridge
from varpro.losses.nullspace import SPECTRAL

EXACT_SUM = NullSpaceLoss(mode="exact", spectral="sum", scale="none")
SHAPES = {"N side": (9, 11, 4), "D side": (13, 6, 4), "fewer features than classes": (14, 3, 5)}


def test_four_points_whose_answer_is_known():
    f = np.array([[1.0, 1, 0], [1, -1, 0], [-1, 0, 1], [-1, 0, -1]])
    factors = DiscriminantFactors(f, [0, 0, 1, 1])
    np.testing.assert_allclose(factors.H.T @ factors.H / 4, np.diag([0, 0.5, 0.5]), atol=1e-15)
    np.testing.assert_allclose(factors.B.T @ factors.B, np.diag([1.0, 0, 0]), atol=1e-15)
    result = EXACT_SUM(f, [0, 0, 1, 1])
    np.testing.assert_allclose(result.info["E"], [1.0], atol=1e-14)
    np.testing.assert_allclose(-result.gradient, np.outer([0.5, 0.5, -0.5, -0.5], [1, 0, 0]), atol=1e-14)
    assert (result.info["w"], result.info["t"], result.info["r"]) == (2, 3, 1)


@pytest.mark.parametrize("a", [0.5, 1.0, 3.0])
def test_the_tilt_of_the_null_space_is_of_first_order(a):
    f, direction = np.array([[a, 1], [-a, -1], [2, 0]]), np.array([[1.0, 0], [-1, 0], [0, 0]])
    result = EXACT_SUM(f, [0, 0, 1])
    assert result.info["E"][0] == pytest.approx(8 / (9 * (1 + a * a)), rel=1e-13)
    assert -np.vdot(result.gradient, direction) == pytest.approx(-16 * a / (9 * (1 + a * a) ** 2), rel=1e-13)


def test_ridge_of_three_points():
    loss = NullSpaceLoss(spectral="sum", scale="none", ridge=Ridge(abs=1 / 3))
    assert loss([[1.0, 1], [-1, -1], [2, 0]], [0, 0, 1]).info["E"][0] == pytest.approx(8 / 15, rel=1e-14)


@pytest.mark.parametrize("mode", ["exact", "ridge"])
@pytest.mark.parametrize("spectral", ["sum", "mean", "below_mean", "below_sum", "clip", "logdet"])
def test_a_simplex_has_equal_eigenvalues_and_a_right_gradient(mode, spectral):
    f, y = simplex()
    loss = NullSpaceLoss(mode=mode, spectral=spectral, scale="none", eps=0.5)
    result = loss(f, y)
    if mode == "exact":
        np.testing.assert_allclose(result.info["E"], np.ones(3), rtol=1e-14)
    assert np.ptp(result.info["E"]) < 1e-14
    assert distance(result.gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE


@pytest.mark.parametrize("scale", ["trace", "none"])
@pytest.mark.parametrize("spectral", SPECTRAL)
def test_gradient_of_the_exact_form(spectral, scale):
    f, y = batch(8, 9, 3)
    loss = NullSpaceLoss(mode="exact", spectral=spectral, scale=scale, eps=0.05)
    assert distance(loss(f, y).gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE


@pytest.mark.parametrize("ridge", [Ridge(), Ridge(rel=0.1), Ridge(abs=0.3)])
@pytest.mark.parametrize("scale", ["trace", "none", "gamma"])
@pytest.mark.parametrize("spectral", SPECTRAL)
def test_gradient_of_the_ridge_form(spectral, scale, ridge):
    f, y = batch(8, 5, 3)
    loss = NullSpaceLoss(spectral=spectral, scale=scale, eps=0.05, ridge=ridge)
    assert distance(loss(f, y).gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradient_on_either_side(shape):
    f, y = batch(*shape)
    loss = NullSpaceLoss()
    assert distance(loss(f, y).gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE


@pytest.mark.parametrize("mode", ["exact", "ridge"])
def test_gradient_with_dead_units_gaps_in_the_labels_and_a_single_sample(mode):
    f, y = batch(8, 13, 3)
    f[:, [2, 5, 9]] = 0.0
    y = np.array([7, -1, 40])[y]
    y[0] = 99
    loss = NullSpaceLoss(mode=mode)
    assert distance(loss(f, y).gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE


def test_gradient_where_dead_units_repeat_the_eigenvalue_zero():
    f, y = batch(15, 6, 5)
    f[:, 2:] = 0.0
    loss = NullSpaceLoss(spectral="mean")
    result = loss(f, y)
    assert np.count_nonzero(result.info["E"] < 1e-25) == 2
    assert distance(result.gradient, gradient(lambda g: loss(g, y).value, f)) < TOLERANCE
    logarithmic = NullSpaceLoss()
    assert np.isfinite(logarithmic(f, y).gradient).all()
    active = gradient(lambda g: logarithmic(np.hstack([g, f[:, 2:]]), y).value, f[:, :2])
    assert distance(logarithmic(f, y).gradient[:, :2], active) < TOLERANCE


@pytest.mark.parametrize("gap", [0.0, 1e-13])
def test_clip_shares_the_derivative_of_a_tied_minimum(gap):
    value, slope = SPECTRAL["clip"](np.array([1.0, 1.0 + gap, 4.0]), 1.0)
    assert value == pytest.approx(-4.0)
    np.testing.assert_allclose(slope, [-1.5, -1.5, 0.0])


@pytest.mark.parametrize("spectral", SPECTRAL)
def test_spectral_rules_are_symmetric_and_their_slopes_are_derivatives(spectral):
    e, rule = np.array([0.7, 2.0, 0.4, 1.1]), SPECTRAL[spectral]
    value, slope = rule(e, 0.5)
    order = np.array([2, 0, 3, 1])
    assert rule(e[order], 0.5)[0] == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(gradient(lambda x: rule(x, 0.5)[0], e), slope, atol=1e-10)


def three_routes(f, y):
    n = len(f)
    classes, position, counts = np.unique(y, return_inverse=True, return_counts=True)
    onehot = np.eye(len(classes))[position] / np.sqrt(counts)
    total = f - f.mean(axis=0)
    within = f - onehot @ (onehot.T @ f)
    s_b = total.T @ onehot @ onehot.T @ total / n
    _, s, vt = np.linalg.svd(total, full_matrices=False)
    span = vt[s > 1e-12 * s[0]].T
    null = scipy.linalg.null_space(within @ span, rcond=1e-12)
    p = span @ null
    v = np.sqrt(counts / n)
    j = np.eye(len(v)) - np.outer(v, v)
    schur = j @ np.linalg.inv(onehot.T @ np.linalg.inv(f @ f.T) @ onehot) @ j / n
    return p, np.linalg.eigvalsh(p.T @ s_b @ p), np.linalg.eigvalsh(schur)[1:], s_b, total.T @ total / n


def test_null_space_projector_and_schur_complement_agree():
    f, y = batch(14, 20, 4)
    p, by_null_space, by_schur, s_b, s_t = three_routes(f, y)
    result = EXACT_SUM(f, y)
    np.testing.assert_allclose(result.info["E"], by_null_space, rtol=1e-10)
    np.testing.assert_allclose(result.info["E"], by_schur, rtol=1e-10)
    means = np.array([f[y == c].mean(axis=0) for c in range(4)])
    np.testing.assert_allclose((f - means[y]) @ p, 0, atol=1e-13)
    np.testing.assert_allclose(p.T @ s_t @ p, p.T @ s_b @ p, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("side", ["n", "d"])
def test_ridge_is_gamma_times_the_generalised_eigenvalues(shape, side):
    f, y = batch(*shape)
    result = NullSpaceLoss(ridge=Ridge(abs=0.2), side=side)(f, y)
    factors = DiscriminantFactors(f, y)
    s_w, s_b = factors.H.T @ factors.H / len(f), factors.B.T @ factors.B
    expected = 0.2 * scipy.linalg.eigh(s_b, s_w + 0.2 * np.eye(f.shape[1]), eigvals_only=True)
    wanted = np.zeros(shape[2] - 1)
    top = expected[-len(wanted) :]
    wanted[-len(top) :] = top
    np.testing.assert_allclose(result.info["E"], wanted, rtol=1e-11, atol=1e-15)


def test_a_vanishing_ridge_tends_to_the_exact_form():
    f, y = batch(12, 16, 4)
    exact = NullSpaceLoss(mode="exact")(f, y)
    errors = [distance(NullSpaceLoss(ridge=Ridge(rel=r))(f, y).gradient, exact.gradient) for r in (1e-3, 1e-5, 1e-7)]
    assert errors[2] < 1e-4
    assert errors[0] > 50 * errors[1] > 2500 * errors[2]


def test_a_ridge_below_the_rounding_of_the_gram_matrix_is_still_solved():
    f, y = batch(20, 6, 3)
    f[:, 5] = f[:, 0]
    result = NullSpaceLoss(ridge=Ridge(abs=1e-19))(f, y)
    reference = NullSpaceLoss(ridge=Ridge(abs=1e-12))(f, y)
    assert np.isfinite(result.gradient).all()
    np.testing.assert_allclose(result.info["E"] * 1e7, reference.info["E"], rtol=1e-3)


def test_share_of_the_between_scatter_that_noise_keeps():
    n, d, c = 200, 400, 10
    shares = []
    for seed in range(20):
        f = np.random.default_rng(seed).standard_normal((n, d))
        info = EXACT_SUM(f, np.arange(n) % c).info
        shares.append(info["E"].sum() / info["trSb"])
    spread = np.std(shares) / np.sqrt(len(shares))
    assert abs(np.mean(shares) - (1 - (n - c) / d)) < 4 * spread


def test_the_exact_form_ignores_the_size_of_the_within_class_scatter():
    f, y = batch(12, 16, 4)
    factors = DiscriminantFactors(f, y)
    shrunk = f - (1 - 1e-3) * factors.H
    np.testing.assert_allclose(EXACT_SUM(shrunk, y).info["E"], EXACT_SUM(f, y).info["E"], rtol=1e-11)
    for loss, sign in ((EXACT_SUM, 0), (NullSpaceLoss(spectral="sum", scale="none", ridge=Ridge(abs=0.1)), 1)):
        along = np.vdot(loss(f, y).gradient, factors.H)
        assert along > 1e-3 if sign else abs(along) < 1e-12


@pytest.mark.parametrize("mode", ["exact", "ridge"])
def test_invariances_of_the_gradient(mode):
    f, y = batch(12, 16, 4)
    rng = np.random.default_rng(3)
    loss = NullSpaceLoss(mode=mode)
    g = loss(f, y).gradient
    q = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    np.testing.assert_allclose(g.sum(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(loss(f @ q, y).gradient, g @ q, atol=1e-12)
    np.testing.assert_allclose(loss(f + rng.standard_normal(16), y).gradient, g, atol=1e-12)
    order = rng.permutation(12)
    np.testing.assert_allclose(loss(f[order], y[order]).gradient, g[order], atol=1e-13)
    np.testing.assert_allclose(loss(f, np.array([5, 3, 88, -4])[y]).gradient, g, atol=1e-13)
    np.testing.assert_allclose(loss(np.asfortranarray(f)[:, :], y).gradient, g, atol=1e-14)
    np.testing.assert_allclose(loss(np.repeat(f, 2, axis=1)[:, ::2], y).gradient, g, atol=1e-14)
    assert abs(np.vdot(g, f)) < 1e-12
    assert loss(7 * f, y).value == pytest.approx(loss(f, y).value, rel=1e-12)


def test_euler_identity_of_the_unscaled_sum():
    f, y = batch(12, 16, 4)
    result = EXACT_SUM(f, y)
    assert np.vdot(result.gradient, f) == pytest.approx(2 * result.value, rel=1e-12)


def test_a_stack_of_batches_equals_a_loop():
    pairs = [batch(12, 16, 4, seed) for seed in range(3)]
    loss = NullSpaceLoss()
    stacked = loss(np.stack([f for f, _ in pairs]), np.stack([y for _, y in pairs]))
    assert stacked.value.shape == (3,)
    for b, (f, y) in enumerate(pairs):
        one = loss(f, y)
        assert stacked.value[b] == one.value
        np.testing.assert_array_equal(stacked.gradient[b], one.gradient)
        np.testing.assert_array_equal(stacked.info["E"][b], one.info["E"])


@pytest.mark.parametrize("mode", ["exact", "ridge"])
def test_single_precision_features_are_factored_in_double(mode):
    f, y = batch(40, 60, 4)
    single = f.astype(np.float32)
    result, reference = NullSpaceLoss(mode=mode)(single, y), NullSpaceLoss(mode=mode)(single.astype(float), y)
    assert result.gradient.dtype == np.float32
    assert result.value == pytest.approx(reference.value, rel=1e-13)
    assert distance(result.gradient, reference.gradient) < 2 * np.finfo(np.float32).eps


def test_an_ill_conditioned_batch_keeps_its_digits():
    """Singular values of H over seven decades: one correction of the Gram solution, as good as an SVD."""
    rng = np.random.default_rng(1)
    f, y = rng.standard_normal((12, 16)), np.arange(12) % 3
    u, _, vt = np.linalg.svd(f - f.mean(axis=0), full_matrices=False)
    for smallest in (1e-3, 1e-6, 1e-8):
        g = u * np.geomspace(1, smallest, 12) @ vt
        _, expected, _, _, _ = three_routes(g + 1e-300, y)
        loss = NullSpaceLoss(mode="exact", scale="none", spectral="sum", strict=False)
        assert loss(g, y).info["E"][-1] == pytest.approx(expected[-1], rel=1e-15 / smallest + 1e-11)


def test_the_published_form():
    assert NullSpaceLoss.paper() == NullSpaceLoss(mode="exact", spectral="below_mean", eps=1.0, scale="none")


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "qr"},
        {"spectral": "max"},
        {"scale": "1"},
        {"eps": 0.0},
        {"mode": "exact", "scale": "gamma"},
    ],
)
def test_unknown_options_are_refused(options):
    with pytest.raises(ConfigError):
        NullSpaceLoss(**options)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_a_ridge_is_positive(value):
    with pytest.raises(ConfigError):
        Ridge(abs=value)
    with pytest.raises(ConfigError):
        Ridge(rel=value)
