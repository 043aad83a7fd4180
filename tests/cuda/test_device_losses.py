"""The losses on arrays of a device: the same results as on the host, on the device, with nothing large fetched."""

import numpy as np
import pytest

from tests.losses.differences import batch, simplex
from varpro import losses
from varpro.arrays import is_device_array, to_host
from varpro.errors import BackendError, DegenerateBatchError, NonFiniteError, ShapeError

EPS = np.finfo(float).eps
N, D, C = 23, 31, 4


def weights(n, seed=5, m=None):
    return np.random.default_rng(seed).standard_normal((m or n, n))


CASES = {
    "nullspace d": (losses.NullSpaceLoss(side="d"), {}),
    "nullspace n": (losses.NullSpaceLoss(side="n", scale="gamma", spectral="clip"), {}),
    "nullspace fixed": (losses.NullSpaceLoss(ridge=losses.Ridge(abs=0.1), scale="none", spectral="sum"), {}),
    "nullspace exact": (losses.NullSpaceLoss(mode="exact"), {}),
    "nullspace paper": (losses.NullSpaceLoss.paper(), {}),
    "variance": (losses.IntraClassVariance(), {}),
    "variance unbiased": (losses.IntraClassVariance(unbiased=True), {}),
    "variance learned": (losses.IntraClassVariance(mode="learned"), {"C": weights(D)[:6]}),
    "variance proximal": (losses.IntraClassVariance(mode="proximal"), {"C": weights(D)[:6]}),
    "variance ema": (losses.IntraClassVariance(mode="ema"), {"C": weights(D)[:6]}),
    "contrastive": (losses.ContrastiveLoss(7.0), {}),
    "linear small": (losses.EliminatedLinear(6), {}),
    "linear signed": (losses.EliminatedLinear(6, 0.3, "signed"), {}),
    **{
        f"feedback {dist} {direction} {'eliminated' if eliminate else ''}": (
            losses.FeedBackward(dist=dist, direction=direction, eliminate=eliminate),
            {} if eliminate else {"W": weights(6, m=D)},
        )
        for dist in ("softmax", "l1", "l2")
        for direction in ("pq", "qp")
        for eliminate in (False, True)
    },
    "feedback stop": (losses.FeedBackward(stop="W", tau=0.5), {"W": weights(6, m=D)}),
}


def close(there, here, tolerance):
    """Structures of numbers and arrays, relative to the largest entry of each."""
    if isinstance(here, dict):
        assert there.keys() == here.keys()
        for key in here:
            close(there[key], here[key], tolerance)
    elif isinstance(here, losses.ClassMoments):
        for name in ("labels", "counts", "means", "scatter"):
            close(getattr(there, name), getattr(here, name), tolerance)
    elif here is None or isinstance(here, str):
        assert there == here
    elif isinstance(here, list):
        for a, b in zip(there, here, strict=True):
            close(a, b, tolerance)
    else:
        a, b = to_host(there), np.asarray(here)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(initial=0.0), 1e-300))


def on_both(xp, loss, f, y, inputs, tolerance=1e4 * EPS):
    here = loss(f, y, **inputs)
    there = loss(xp.asarray(f), y, **{k: xp.asarray(a) for k, a in inputs.items()})
    close(there.value, here.value, tolerance)
    close(there.gradient, here.gradient, tolerance)
    close(dict(there.info), dict(here.info), tolerance)
    parts = there.gradient.values() if isinstance(there.gradient, dict) else [there.gradient]
    assert all(is_device_array(g) for g in parts)
    return there


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_host(xp, case, dtype):
    loss, inputs = CASES[case]
    f, y = batch(N, D, C)
    f, y = f.astype(dtype), np.where(y == 2, 5, y)  # the classes 2 and 4 are absent
    on_both(xp, loss, f, y, inputs, 1e4 * EPS if dtype == np.float64 else 10 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_the_size_of_the_batch_is_fetched(xp, case):
    if not hasattr(xp.ndarray, "fetched"):
        pytest.skip("a GPU is here: only the stand-in counts what is fetched")
    loss, inputs = CASES[case]
    f, y = batch(N, D, C)
    f, inputs = xp.asarray(f), {k: xp.asarray(a) for k, a in inputs.items()}
    xp.ndarray.fetched.clear()
    loss(f, xp.asarray(y), **inputs)
    assert max(xp.ndarray.fetched) <= max(N, D)  # the labels; vectors of the condition estimate


@pytest.mark.parametrize("case", ["nullspace d", "nullspace fixed", "variance", "contrastive", "linear signed"])
@pytest.mark.parametrize("shape", [(40, 7, 3), (5, 3, 2), (9, 1, 3)])
def test_more_samples_than_features(xp, case, shape):
    on_both(xp, CASES[case][0], *batch(*shape), {}, 1e6 * EPS)


def test_labels_of_either_side_and_batches(xp):
    f, y = batch(N, D, C)
    stack, labels = np.stack([f, 2 * f]), np.stack([y, y[::-1]])
    for case in ("nullspace d", "variance", "feedback softmax pq "):
        loss, inputs = CASES[case]
        there = on_both(xp, loss, stack, labels, inputs)
        again = loss(xp.asarray(stack), xp.asarray(labels), **{k: xp.asarray(a) for k, a in inputs.items()})
        assert again.value.tolist() == there.value.tolist()


def test_features_that_are_not_contiguous_or_are_integers(xp):
    f, y = batch(N, D, C)
    whole = (8 * f).round()
    expected = losses.NullSpaceLoss()(whole[:, ::2], y)
    for given in (xp.asarray(whole)[:, ::2], xp.asarray(whole.astype(np.int32))[:, ::2]):
        close(losses.NullSpaceLoss()(given, y).gradient, expected.gradient, 1e4 * EPS)


@pytest.mark.parametrize("spectral", ["logdet", "sum", "below_mean", "clip"])
@pytest.mark.parametrize("mode", ["exact", "ridge"])
def test_repeated_eigenvalues(xp, mode, spectral):
    f, y = simplex()
    on_both(xp, losses.NullSpaceLoss(mode=mode, spectral=spectral, strict=False), f, y, {})


def test_dead_units_and_collapse(xp):
    f, y = batch(12, 30, 3)
    f[:, 3:9] = 0.0
    for loss in (losses.NullSpaceLoss(), losses.NullSpaceLoss(mode="exact"), losses.IntraClassVariance()):
        on_both(xp, loss, f, y, {})
    twice = f.copy()
    twice[3] = twice[np.flatnonzero(y == y[3])[0]]  # H loses a rank within a class: the truncated residual
    on_both(xp, losses.NullSpaceLoss(mode="exact"), np.vstack([twice, twice[:3]]), np.r_[y, y[:3]], {}, 1e8 * EPS)
    means = np.random.default_rng(1).standard_normal((3, 30))[y]
    with pytest.warns(UserWarning, match="no within-class scatter"):
        on_both(xp, losses.NullSpaceLoss(mode="exact"), means, y, {})


@pytest.mark.parametrize("side", ["n", "d"])
def test_a_ridge_that_the_gram_matrix_does_not_see(xp, monkeypatch, side):
    """Where Cholesky breaks down the projector takes its place."""
    monkeypatch.setattr("varpro.losses.factors.cholesky.factor", lambda *_, **__: None)
    on_both(xp, losses.NullSpaceLoss(side=side), *batch(N, D, C), {})


def test_classes_of_which_two_coincide(xp):
    """The smallest eigenvalue is zero: it comes from the square root of M, on a device through a basis of it."""
    f, y = batch(16, 9, 4)
    for k in (0, 1):
        f[y == k] -= f[y == k].mean(axis=0)
    there = on_both(xp, losses.NullSpaceLoss(spectral="sum"), f, y, {})
    assert there.info["E"][0] <= 1e-12 * there.info["E"][-1]


DEGENERATE = {
    "one class": (losses.NullSpaceLoss(), np.eye(5), np.zeros(5, dtype=int)),
    "no variation": (losses.NullSpaceLoss(), np.full((6, 4), 0.1), np.arange(6) % 2),
    "no null space": (losses.NullSpaceLoss(mode="exact"), *batch(40, 7, 3)),
    "not finite": (losses.NullSpaceLoss(), np.where(np.arange(40).reshape(8, 5) == 17, np.nan, 1.0), np.arange(8) % 2),
    "infinite": (losses.IntraClassVariance(), np.where(np.arange(40).reshape(8, 5) == 17, np.inf, 1.0), np.arange(8)),
    "overflow": (losses.ContrastiveLoss(), 1e200 * batch(6, 4, 2)[0], np.arange(6) % 2),
    "one sample": (losses.ContrastiveLoss(), np.ones((1, 3)), [0]),
    "no ridge": (losses.EliminatedLinear(3, 0.0), *batch(9, 12, 3)),
    "singular": (losses.EliminatedLinear(3, 0.0), np.repeat(batch(9, 2, 3)[0], 2, axis=1), np.arange(9) % 3),
    "no rows": (losses.NullSpaceLoss(), np.zeros((0, 3)), []),
    "complex": (losses.NullSpaceLoss(), np.eye(3) * 1j, [0, 1, 2]),
    "labels": (losses.NullSpaceLoss(), np.eye(3), [0.0, 1.0, 2.0]),
    "too many labels": (losses.EliminatedLinear(2), *batch(9, 4, 3)),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_batches_without_a_value_raise_what_the_host_raises(xp, case):
    loss, f, y = DEGENERATE[case]
    with pytest.raises((DegenerateBatchError, NonFiniteError, ShapeError)) as here:
        loss(f, y)
    with pytest.raises(type(here.value)) as there:
        loss(xp.asarray(f), y)
    assert str(there.value) == str(here.value)


def test_inputs_on_two_sides_are_refused(xp):
    f, y = batch(N, D, C)
    w = weights(C, m=D)
    for run, names in (
        (lambda: losses.FeedBackward()(xp.asarray(f), y, W=w), "F on a device, W on the host"),
        (lambda: losses.FeedBackward()(f, y, W=xp.asarray(w)), "W on a device, F on the host"),
        (lambda: losses.IntraClassVariance(mode="learned")(xp.asarray(f), y, C=w.T), "F on a device, C on the host"),
        (lambda: losses.InwardScale().vjp(f, xp.asarray(f)), "g on a device, x on the host"),
        (lambda: losses.nearest_centroid(f, xp.asarray(w.T)), "centroids on a device, x on the host"),
    ):
        with pytest.raises(BackendError, match=names):
            run()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sphere(xp, dtype):
    x, g = (batch(N, D, C, seed)[0].astype(dtype) for seed in (0, 1))
    for layer in (losses.InwardScale(3.0), losses.InwardScale(3.0, learnable=True)):
        close(layer(xp.asarray(x)), layer(x), 8 * np.finfo(dtype).eps)
        close(layer.vjp(xp.asarray(x), xp.asarray(g)), layer.vjp(x, g), 8 * np.finfo(dtype).eps)
    mixed = losses.InwardScale().vjp(xp.asarray(x), xp.asarray(g.astype(np.float64)))
    assert mixed.dtype == dtype
    x[7] = 0.0
    with pytest.raises(DegenerateBatchError, match="row 7"):
        losses.InwardScale(1.0, 0.0)(xp.asarray(x))
    g[2, 3] = np.inf
    with pytest.raises(NonFiniteError, match=r"g\[2, 3\]"):
        losses.InwardScale().vjp(xp.asarray(x), xp.asarray(g))


@pytest.mark.parametrize("normalise", [False, True])
def test_weights(xp, normalise):
    w = weights(5, m=9)
    penalty, there = losses.SeparabilityPenalty(0.3, normalise), xp.asarray(w)
    close(penalty(there).value, penalty(w).value, 1e3 * EPS)
    close(penalty(there).gradient, penalty(w).gradient, 1e3 * EPS)
    assert losses.separability(there, normalise) == pytest.approx(losses.separability(w, normalise), rel=1e3 * EPS)
    w[:, 2] = 0.0
    if normalise:
        with pytest.raises(DegenerateBatchError, match="column 2"):
            penalty(xp.asarray(w))


@pytest.mark.parametrize("nearly_dependent", [False, True])
def test_orthonormal_columns(xp, nearly_dependent):
    v, g = weights(4, m=9), weights(4, m=9, seed=6)
    if nearly_dependent:
        v[:, 3] = v[:, 0] + 1e-8 * v[:, 3]
    here, there = losses.semi_orthogonal(v), losses.semi_orthogonal(xp.asarray(v))
    tolerance = 1e10 * EPS if nearly_dependent else 1e3 * EPS
    close(there.value, here.value, tolerance)
    close(there.vjp(xp.asarray(g)), here.vjp(g), tolerance)
    with pytest.raises(BackendError, match="g on the host"):
        there.vjp(g)


def test_moments_and_the_layer_that_remembers(xp):
    f, y = batch(60, 6, 4)
    first, second = slice(0, 31), slice(31, 60)
    past = losses.ClassMoments.of(f[first], y[first])
    there = losses.ClassMoments.of(xp.asarray(f[first]), y[first])
    close(there, past, 1e3 * EPS)
    loss = losses.EliminatedLinear(4)
    expected = loss(f[second], y[second], memory=past.forget(0.5))
    for memory in (there, past):  # from either side
        result = loss(xp.asarray(f[second]), y[second], memory=memory.forget(0.5))
        assert is_device_array(result.gradient)
        close(result.value, expected.value, 1e4 * EPS)
        close(result.gradient, expected.gradient, 1e4 * EPS)
        close(result.info["A"], expected.info["A"], 1e4 * EPS)
    assert not is_device_array(past.merge(there).means)


@pytest.mark.parametrize("mode", ["ridge", "exact"])
def test_classifiers(xp, mode):
    f, y = batch(N, D, C)
    here, there = (losses.DiscriminantClassifier(mode=mode) for _ in range(2))
    plain, also = losses.NearestCentroid(), losses.NearestCentroid()
    for part in (slice(0, 11), slice(11, N)):
        here.partial_fit(f[part], y[part])
        there.partial_fit(xp.asarray(f[part]), y[part])
        plain.partial_fit(f[part], y[part])
        also.partial_fit(xp.asarray(f[part]), xp.asarray(y[part]))
    x = xp.asarray(f)
    close(there.decision_function(x), here.decision_function(f), 1e7 * EPS)
    close(abs(there.transform(x)), abs(here.transform(f)), 1e7 * EPS)
    assert there.predict(x).tolist() == here.predict(f).tolist()
    assert also.predict(x).tolist() == plain.predict(f).tolist()
    assert losses.nearest_centroid(x, x[:3]).get().tolist() == losses.nearest_centroid(f, f[:3]).tolist()
