"""The forms that data come in: containers, dtypes, orders, times; and what a result keeps of them."""

import datetime
import decimal
import sys
import types

import numpy as np
import pytest

import varpro
from varpro import models
from varpro.errors import ConfigError, DataError, ShapeError, VarproError
from varpro.fitting.axis import on_axis
from varpro.fitting.data import make_data

READY = models.Exponentials(1, offset=True)
T = np.linspace(0.0, 12.0, 61)
START = np.datetime64("2024-03-01T10:00:00", "ms")


def decay(t, w):
    return np.stack([np.exp(-t / w[0]), np.ones_like(t)], axis=-1)


Y = decay(T, [2.5]) @ [40.0, 3.0] + 0.2 * np.random.default_rng(0).standard_normal(61)
BASE = varpro.fit(READY, T, Y)


class Labelled:
    """A container that is an array only by the protocol, as those of tables are."""

    def __init__(self, values, dtype=None):
        self.values, self.dtype = np.asarray(values), dtype

    def __array__(self, dtype=None, copy=None):
        return self.values.astype(self.dtype or dtype or self.values.dtype)

    def __len__(self):
        return len(self.values)


def read_only(a):
    out = a.copy()
    out.flags.writeable = False
    return out


def on_a_device(a):
    """An array that refuses to be one of NumPy's, as CuPy's do."""

    class ndarray:
        def __init__(self, values):
            self.values = values

        def get(self):
            return self.values

        def __array__(self, *args, **kwargs):
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    ndarray.__module__ = "cupy"
    return ndarray(np.asarray(a))


CONTAINERS = {
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(a.tolist()),
    "objects": lambda a: a.astype(object),
    "decimals": lambda a: [decimal.Decimal(v) for v in a.tolist()],
    "big-endian": lambda a: a.astype(">f8"),
    "long double": lambda a: a.astype(np.longdouble),
    "read-only": read_only,
    "strided": lambda a: np.repeat(a, 3)[::3],
    "reversed memory": lambda a: a[::-1].copy()[::-1],
    "by protocol": Labelled,
    "objects by protocol": lambda a: Labelled(a, object),
    "masked array without a mask": np.ma.array,
    "device": on_a_device,
}


@pytest.mark.parametrize("w0", [None, [2.0]], ids=["guessed", "w0"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_one_answer_whatever_the_container(container, w0):
    wrap = CONTAINERS[container]
    base = varpro.fit(READY, T, Y, w0, weights=np.full(61, 2.0))
    found = varpro.fit(READY, wrap(T), wrap(Y), w0, weights=wrap(np.full(61, 2.0)))
    np.testing.assert_array_equal(found.nonlinear, base.nonlinear)
    assert (found.rss, found.dof) == (base.rss, base.dof)
    many = varpro.fit_batch(READY, wrap(T), [wrap(Y), wrap(Y)], w0)
    np.testing.assert_allclose(many.nonlinear[:, 0], BASE.nonlinear[0], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8, np.int64, bool, ">i2"])
def test_narrow_numbers_are_taken_at_their_value(dtype):
    y = np.round(Y).clip(0).astype(dtype)
    t = np.arange(61).astype(dtype) if np.dtype(dtype).kind != "b" else T
    found = varpro.fit(READY, t, y, [2.0], max_iterations=400)
    exact = varpro.fit(READY, t.astype(float), y.astype(float), [2.0], max_iterations=400)
    np.testing.assert_array_equal(found.nonlinear, exact.nonlinear)


def test_fortran_order_of_many_right_hand_sides_changes_nothing():
    y = np.stack([Y, 2 * Y, Y + 1], axis=1)
    one, other = varpro.fit(READY, T, y), varpro.fit(READY, T, np.asfortranarray(y))
    np.testing.assert_array_equal(one.nonlinear, other.nonlinear)


@pytest.mark.parametrize("missing", [None, float("nan"), np.ma.masked])
def test_a_missing_entry_of_a_list_is_a_missing_value(missing):
    y = Y.tolist()
    y[7] = missing
    found = varpro.fit(READY, T, y)
    cut = varpro.fit(READY, np.delete(T, 7), np.delete(Y, 7))
    assert found.dof == cut.dof
    np.testing.assert_allclose(found.nonlinear, cut.nonlinear, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ([str(v) for v in T], "convert text"),
        (["early"] * 61, "convert text"),
        ([object()] * 61, "object"),
        ([datetime.time(3)] * 61, "object"),
        (T.astype("timedelta64[M]"), "no length in seconds"),
    ],
)
@pytest.mark.parametrize(("model", "w0"), [(READY, None), (READY, [2.0]), (decay, [2.0])])
def test_points_that_are_no_numbers_are_refused_with_a_remedy(model, w0, given, word):
    with pytest.raises(DataError, match=word):
        varpro.fit(model, given, Y, w0)
    with pytest.raises(DataError, match=word):
        varpro.fit_batch(model, given, [Y, Y], w0)


def test_values_that_are_no_numbers_are_refused():
    for y in ([str(v) for v in Y], [[1.0, 2.0], [3.0]], T.astype("datetime64[s]"), [{}] * 61):
        with pytest.raises(ShapeError, match="y "):
            varpro.fit(READY, T, y)
    with pytest.raises(DataError, match="weights"):
        varpro.fit(READY, T, Y, weights=["1"] * 61)
    with pytest.raises(VarproError):
        varpro.fit(READY, T, Y, weights=np.ones(61) + 1j)


MOMENTS = {
    "datetime64[ms]": START + (T * 1000).astype("timedelta64[ms]"),
    "datetime64[ns]": (START + (T * 1000).astype("timedelta64[ms]")).astype("datetime64[ns]"),
    "datetime": (START + (T * 1000).astype("timedelta64[ms]")).astype(object),
    "datetime with a zone": [
        v.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-7)))
        for v in (START + (T * 1000).astype("timedelta64[ms]")).tolist()
    ],
    "timedelta64": (T * 1000).astype("timedelta64[ms]"),
    "timedelta": (T * 1000).astype("timedelta64[ms]").tolist(),
}


@pytest.mark.parametrize("kind", MOMENTS)
def test_times_are_seconds_from_the_first(kind):
    t = MOMENTS[kind]
    for model, w0 in ((READY, None), (READY, [2.0]), (decay, [2.0])):
        found = varpro.fit(model, t, Y, w0)
        np.testing.assert_allclose(found.nonlinear, BASE.nonlinear, rtol=1e-6)
        np.testing.assert_allclose(found.linear, BASE.linear, rtol=1e-6)
        np.testing.assert_allclose(found.predict(t), found.fitted, rtol=1e-12)
        np.testing.assert_allclose(found.predict(t[7:9]), found.fitted[7:9], rtol=1e-12)
        np.testing.assert_allclose(found.predict(T[7:9]), found.fitted[7:9], rtol=1e-6)
        low, high = found.confidence_band(t[3:5])
        assert (low < high).all()
    many = varpro.fit_batch(READY, t, [Y, Y])
    np.testing.assert_allclose(many.nonlinear[:, 0], BASE.nonlinear[0], rtol=1e-6)
    np.testing.assert_allclose(many[1].predict(t[7:9]), found.fitted[7:9], rtol=1e-5)


def test_the_unit_of_times_is_told():
    assert make_data(MOMENTS["datetime64[ms]"], Y, batch=False).t_unit == "s since 2024-03-01T10:00:00.000"
    assert make_data(MOMENTS["timedelta64"], Y, batch=False).t_unit == "s"
    assert make_data(T, Y, batch=False).t_unit is None


def test_times_that_are_not_there_are_left_out_and_other_kinds_of_times_refused():
    t, y = MOMENTS["datetime64[ms]"].copy(), Y.copy()
    t[[0, 9]] = np.datetime64("NaT")
    with pytest.raises(DataError, match="row 0"):
        varpro.fit(READY, t, y, [2.0])
    y[[0, 9]] = np.nan
    found = varpro.fit(READY, t, y, [2.0])
    assert found.nonlinear[0] == pytest.approx(BASE.nonlinear[0], rel=0.05)
    with pytest.raises(DataError, match="moments"):
        found.predict(MOMENTS["timedelta64"])
    with pytest.raises(DataError, match="numbers"):
        BASE.predict(MOMENTS["datetime64[ms]"])
    with pytest.raises(DataError, match="convert text"):
        on_axis(["a"], None)
    months = np.arange("2020-01", "2025-02", dtype="datetime64[M]")
    assert make_data(months, Y, batch=False).t[1] == 31 * 86400


@pytest.mark.parametrize("k", [1, 3, 301])
def test_a_result_does_not_change_when_the_callers_arrays_do(k):
    y = Y[:, None] * np.linspace(1, 2, k) if k > 1 else Y.copy()
    t, weights = T.copy(), np.ones(61)
    equality = np.array([[1.0, -2.0]]), np.array([3.0])
    options = {"weights": weights} if k > 1 else {"weights": weights, "linear_equality": equality}
    found, again = (varpro.fit(READY, t, y, [2.0], **options) for _ in range(2))
    for array in (t, y, weights, *equality):
        array[...] = 17.0
    for name in ("fitted", "residual", "stderr_nonlinear", "stderr_linear", "r_squared"):
        assert np.isfinite(getattr(found, name)).all()
    changed = varpro.fit(
        READY,
        T,
        Y[:, None] * np.linspace(1, 2, k) if k > 1 else Y,
        [2.0],
        **(
            {"weights": np.ones(61)}
            if k > 1
            else {"weights": np.ones(61), "linear_equality": (np.array([[1.0, -2.0]]), np.array([3.0]))}
        ),
    )
    for name in ("fitted", "residual", "stderr_nonlinear", "stderr_linear"):
        np.testing.assert_array_equal(getattr(again, name), getattr(changed, name))


def test_a_batch_keeps_its_own_arrays_too():
    t, y, weights = np.stack([T, T]), np.stack([Y, Y]), np.ones((2, 61))
    many = varpro.fit_batch(READY, t, y, [2.0], weights=weights)
    for array in (t, y, weights):
        array[...] = 17.0
    np.testing.assert_allclose(many.predict()[0, :, 0], BASE.fitted, rtol=1e-4)
    np.testing.assert_allclose(many[1].residual, BASE.residual, atol=1e-2)
    np.testing.assert_allclose(many.stderr_nonlinear[0], BASE.stderr_nonlinear, rtol=1e-2)


def test_tables_give_the_answer_of_their_numbers():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"t": T, "y": Y})
    table.loc[7, "y"] = np.nan
    base = varpro.fit(READY, T, table["y"].to_numpy())
    for y in (table["y"], table["y"].astype("Float64"), table["y"].convert_dtypes()):
        found = varpro.fit(READY, table["t"], y)
        np.testing.assert_array_equal(found.nonlinear, base.nonlinear)
        assert found.dof == base.dof
    stamps = pandas.Timestamp("2024-03-01", tz="Europe/Berlin") + pandas.to_timedelta(T, unit="s")
    for t in (stamps, pandas.Series(stamps), stamps.tz_localize(None), pandas.to_timedelta(T, unit="s")):
        np.testing.assert_allclose(varpro.fit(READY, t, table["y"]).nonlinear, base.nonlinear, rtol=1e-6)


def test_values_absent_from_nullable_columns_are_missing():
    """pandas' NA, by its type's name, where pandas is not here."""
    kind = types.new_class("NAType")
    y = Y.astype(object)
    y[7] = kind()
    found = varpro.fit(READY, T, y)
    assert found.dof == BASE.dof - 1
    assert "pandas" in sys.modules or kind.__name__ == "NAType"


def test_other_arrays_of_points_are_kept_as_they_are():
    pairs = np.stack([T, T**2], axis=1)
    found = varpro.fit(lambda t, w: np.stack([np.exp(-t[:, 0] / w[0]), np.ones(len(t))], -1), pairs, Y, [2.0])
    np.testing.assert_allclose(found.nonlinear, BASE.nonlinear, rtol=1e-6)
    fields = np.zeros(61, dtype=[("time", float)])
    fields["time"] = T
    found = varpro.fit(lambda t, w: decay(t["time"], w), fields, Y, [2.0])
    np.testing.assert_allclose(found.nonlinear, BASE.nonlinear, rtol=1e-6)
    holed = pairs.copy()
    holed[5] = np.nan
    y = Y.copy()
    y[5] = np.nan
    assert np.isfinite(make_data(holed, y, batch=False).t).all()
    with pytest.raises(DataError, match="row 5"):
        make_data(holed, Y, batch=False)
    with pytest.raises(ConfigError, match="w0 is missing"):
        varpro.fit(decay, T, Y)
