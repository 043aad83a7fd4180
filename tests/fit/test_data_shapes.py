"""What becomes of t, y, weights and masks of every shape: values, counts and rows written out one by one."""

import numpy as np
import pytest

import varpro
from varpro.errors import DataError, ShapeError
from varpro.fitting.data import make_data
from varpro.result import Status

N, K, B = 7, 2, 3
T = np.linspace(1.0, 4.0, N)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def written_out(weights, shape, batch):
    """(B, N, K) weights from every shape that is allowed."""
    if batch and weights.shape == (B, N):
        return np.broadcast_to(weights[:, :, None], shape)
    return np.broadcast_to(weights[None, :, None] if weights.ndim == 1 else weights, shape)


SHAPES = [(False, (N,)), (False, (N, K)), (True, (N,)), (True, (B, N)), (True, (B, N, K))]


@pytest.mark.parametrize(("batch", "shape"), SHAPES)
@pytest.mark.parametrize("holes", [False, True])
def test_weights_of_every_shape_are_written_out_and_counted(batch, shape, holes):
    y = numbers(*((B, N, K) if batch else (N, K)))
    weights = np.random.default_rng(1).uniform(0.5, 2.0, shape)
    if holes:
        weights[..., (1 if len(shape) == 1 or shape[-1] == N else 0)] = 0.0
    whole = (B, N, K) if batch else (1, N, K)
    data = make_data(T, y, batch=batch, weights=weights)
    expected = written_out(weights, whole, batch)
    np.testing.assert_array_equal(data.total_weight() * data.weight_unit, expected)
    np.testing.assert_array_equal(data.valid, (expected > 0).sum(axis=(1, 2)))
    for b in range(whole[0]):
        np.testing.assert_array_equal(data.used(b), expected[b] > 0)
    np.testing.assert_array_equal(data.y, np.where(expected > 0, y.reshape(whole), 0.0))
    np.testing.assert_array_equal(data.misfit(np.ones(whole)), expected * (data.y - 1.0) * (expected > 0))


@pytest.mark.parametrize(("batch", "shape"), SHAPES)
def test_masks_of_every_shape_leave_out_what_is_false(batch, shape):
    y = numbers(*((B, N, K) if batch else (N, K)))
    mask = np.random.default_rng(2).random(shape) < 0.7
    whole = (B, N, K) if batch else (1, N, K)
    data = make_data(T, y, batch=batch, mask=mask)
    expected = written_out(mask, whole, batch)
    np.testing.assert_array_equal(data.total_weight() > 0, expected)
    np.testing.assert_array_equal(data.valid, expected.sum(axis=(1, 2)))
    rows = ~expected.any(axis=2)
    np.testing.assert_array_equal(
        np.zeros_like(rows) if data.excluded is None else np.broadcast_to(data.excluded, rows.shape), rows
    )


def test_without_anything_left_out_all_values_count():
    for y, batch, expected in (
        (numbers(N), False, [N]),
        (numbers(N, K), False, [N * K]),
        (numbers(B, N, K), True, [N * K] * B),
    ):
        data = make_data(T, y, batch=batch)
        assert data.valid.tolist() == expected
        assert data.weights is None
        assert data.excluded is None
        assert (data.status == Status.RUNNING.value).all()
        assert data.used(0).all()
        assert data.y.dtype == np.float64


@pytest.mark.parametrize("weighted", [False, True, "two"])
def test_some_problems_of_a_batch_keep_their_own(weighted):
    count = 2 if weighted == "two" else B
    y, t = numbers(count, N), np.sort(numbers(count, N, seed=3))
    weights = np.random.default_rng(1).uniform(0.5, 2.0, (count, N)) if weighted else None
    data = make_data(t, y, batch=True, weights=weights)
    which = np.array([count - 1, 0])
    part = data.of(which)
    np.testing.assert_array_equal(part.t, t[which])
    np.testing.assert_array_equal(part.y[:, :, 0], y[which])
    np.testing.assert_array_equal(part.total_weight(), data.total_weight()[which])
    np.testing.assert_array_equal(part.valid, data.valid[which])


@pytest.mark.parametrize("count", [2, 3])
def test_each_problem_uses_its_own_rows(count):
    use = np.ones((count, N), dtype=bool)
    use[1, 2], use[0, 4] = False, False
    data = make_data(T, numbers(count, N), batch=True, mask=use)
    for b in range(count):
        np.testing.assert_array_equal(data.used(b)[:, 0], use[b])


def test_guesses_of_two_problems_each_see_their_own_rows():
    """A spoiled value is out of sight for the problem that masks it, and the other keeps its own at that place."""
    model = varpro.models.Gaussians(1)
    t = np.stack([np.linspace(0.0, 10.0, 60), np.linspace(100.0, 110.0, 60)])
    y = np.exp(-((t - [[3.0], [107.0]]) ** 2) / 0.5)
    use = np.ones((2, 60), dtype=bool)
    use[0, 50:], use[1, :9] = False, False
    y[~use] = 50.0
    many = varpro.fit_batch(model, t, y, mask=use)
    assert many.success.all()
    np.testing.assert_allclose(many.nonlinear[:, 0], [3.0, 107.0], rtol=1e-6)


@pytest.mark.parametrize(("columns", "own"), [(0, False), (2, False), (0, True)])
@pytest.mark.parametrize("how", ["nan", "masked"])
def test_a_row_without_t_needs_no_value(columns, own, how):
    """Whatever the number of predictors; a value there is an error that names the row."""
    batch, y = own, numbers(B, N) if own else numbers(N)
    t = np.broadcast_to(T, (B, N)).copy() if own else T.copy()
    t = np.stack([t, 2 * t], axis=-1) if columns else t
    bad = t.copy()
    bad[(1, 3) if own else (3, 1) if columns else 3] = np.nan
    given = np.ma.masked_invalid(bad) if how == "masked" else bad
    use = np.ones(y.shape, dtype=bool)
    use[(1, 3) if own else 3] = False
    data = make_data(given, y, batch=batch, mask=use)
    assert np.isfinite(data.t).all()
    np.testing.assert_array_equal(data.total_weight()[:, :, 0] > 0, use if own else use[None])
    if how == "masked":
        np.testing.assert_array_equal(
            make_data(given, y, batch=batch).total_weight()[:, :, 0] > 0, use if own else use[None]
        )
    elif own:
        found = make_data(given, y, batch=True).status
        assert found.tolist() == [Status.RUNNING.value, Status.INVALID_DATA.value, Status.RUNNING.value]
    else:
        with pytest.raises(DataError, match="t holds NaN or infinite values, at row 3 for one"):
            make_data(given, y, batch=batch)


def test_real_data_stay_real_and_complex_ones_complex():
    z = numbers(N) + 1j * numbers(N, seed=1)
    assert make_data(T, z, batch=False).y.dtype == np.complex128
    np.testing.assert_array_equal(make_data(T, z, batch=False).y[0, :, 0], z)
    assert make_data(T, z, batch=False, dtype=np.float32).y.dtype == np.complex128
    np.testing.assert_array_equal(make_data(T, z, batch=False, dtype=np.float32).y[0, :, 0], z.astype(np.complex64))
    assert make_data(T, np.arange(N), batch=False).y.dtype == np.float64
    y = numbers(N)
    np.testing.assert_array_equal(make_data(T, y, batch=False, dtype=np.float32).y[0, :, 0], y.astype(np.float32))


@pytest.mark.parametrize(
    ("y", "batch", "flat"),
    [
        (numbers(N), False, True),
        (numbers(N, K), False, False),
        (numbers(B, N), True, True),
        (numbers(B, N, K), True, False),
    ],
)
def test_a_missing_axis_of_right_hand_sides_is_remembered(y, batch, flat):
    data = make_data(T, y, batch=batch)
    assert data.flat == flat
    assert data.y.shape == (B if batch else 1, N, 1 if flat else K)


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"y": np.zeros((0,))}, ShapeError, r"y has shape \(0,\); it needs \(N,\) or \(N, K\), none of them 0"),
        ({"y": np.zeros((N, 0))}, ShapeError, "none of them 0"),
        ({"y": np.zeros((N, 1, 1))}, ShapeError, r"it needs \(N,\) or \(N, K\)"),
        ({"y": np.array(["a"] * N)}, (ShapeError, DataError), "y"),
        ({"t": T[:-1]}, ShapeError, r"t has shape \(6,\), y has 7 points; t needs \(7,\)"),
        ({"weights": np.full(N, np.inf)}, DataError, "weights hold inf"),
        ({"weights": -np.ones(N)}, DataError, "weights hold -1"),
        ({"weights": np.ones(N - 1)}, ShapeError, r"weights has shape \(6,\)"),
        ({"mask": np.arange(N)}, DataError, "mask has dtype int64 and other values than True"),
        ({"mask": np.ones((N, K), bool)}, ShapeError, r"mask has shape \(7, 2\)"),
        ({"y": np.full(N, np.nan)}, DataError, "y holds no value to fit: each of its 7"),
    ],
)
def test_what_does_not_fit_together_is_told(change, kind, said):
    given = {"t": T, "y": numbers(N), **change}
    with pytest.raises(kind, match=said):
        make_data(given.pop("t"), given.pop("y"), batch=False, **given)


@pytest.mark.parametrize("size", [2.0**-200, 2.0**-150, 1.0, 2.0**150, 2.0**200])
def test_weights_of_any_size_keep_their_digits(size):
    weights = size * np.linspace(1.0, 1.9, N)
    data = make_data(T, numbers(N), batch=False, weights=weights)
    np.testing.assert_array_equal(data.total_weight()[0, :, 0] * data.weight_unit, weights)
    assert np.isfinite(data.total_weight() ** 4).all()
    assert (data.total_weight() ** 4 > 0).all()
    assert (data.weight_unit == 1.0) == (2.0**-150 <= weights.max() <= 2.0**150)


def test_an_infinite_value_spoils_its_own_problem_only():
    y = numbers(B, N)
    y[1, 2] = np.inf
    data = make_data(T, y, batch=True)
    assert data.status.tolist() == [Status.RUNNING.value, Status.INVALID_DATA.value, Status.RUNNING.value]
    np.testing.assert_array_equal(data.y[[0, 2], :, 0], y[[0, 2]])
    use = np.ones((B, N), dtype=bool)
    use[1, 2] = False
    assert (make_data(T, y, batch=True, mask=use).status == Status.RUNNING.value).all()
