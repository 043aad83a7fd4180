"""Arrays of .npz and .h5 files in the forms that people save, and fits that find nothing."""

import csv
import json

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from varpro.cli import fit
from varpro.cli._fit_data import read_data
from varpro.config.fit import FitConfig
from varpro.errors import ConfigError, DataError
from varpro.result import Status

T = np.linspace(0.0, 12.0, 31)
Y = 3.0 * np.exp(-T / 2.0) + 0.5 + 0.02 * np.random.default_rng(2).standard_normal(31)


def read(folder, arrays, **keys):
    np.savez(folder / "a.npz", **arrays)
    return read_data(str(folder / "a.npz"), FitConfig.model_validate({"model": [{"kind": "gaussians"}], **keys}))


@pytest.mark.parametrize(("t", "told"), [
    (np.datetime64("2024-03-01T10:00", "ms") + (1000 * T).round().astype("m8[ms]"), "since 2024-03-01T10:00:00.000"),
    ((1000 * T).round().astype("m8[ms]"), "timedelta64"),
    (np.array([f"2024-03-01 10:00:{x:06.3f}" for x in T]), "since 2024-03-01 10:00:00.000"),
    (np.array([f"2024-03-01 10:00:{x:06.3f}" for x in T]).astype("S"), "since 2024-03-01 10:00:00.000"),
])  # fmt: skip
def test_clocks_are_seconds_from_the_first(tmp_path, t, told):
    found = read(tmp_path, {"t": t, "y": Y})
    assert_allclose(found.t, T, atol=1e-9)
    assert any(told in note for note in found.notes)


@pytest.mark.parametrize(("t", "y"), [
    (T[:, None], Y[:, None]), (T[None], Y), (T[:, None], Y), (T.astype(">f8"), np.asfortranarray(Y)),
])  # fmt: skip
def test_vectors_as_columns_and_rows(tmp_path, t, y):
    found = read(tmp_path, {"t": t, "y": y})
    assert_array_equal(found.t, T)
    assert_array_equal(found.y, Y)
    assert found.single


def test_truth_values_and_whole_numbers_are_numbers(tmp_path):
    found = read(tmp_path, {"t": np.arange(31, dtype=np.uint8), "y": Y > 1})
    assert_array_equal(found.y, (Y > 1).astype(float))
    assert found.t.dtype == np.float64


def with_value(place, value):
    y = Y.copy()
    y[place] = value
    return y


REFUSED = {
    "t holds text ('later')": {"t": np.array(["later"] * 31), "y": Y},
    "y has dtype <U5": {"t": T, "y": np.array(["later"] * 31)},
    "t has dtype complex128; real numbers": {"t": T + 0j, "y": Y},
    "t is a single number": {"t": 3.0, "y": Y},
    "the last axis of y must be that of t; axis 0 has the length of t: save np.moveaxis(y, 0, -1), or set shared": {
        "t": T, "y": np.stack([Y] * 4, axis=1),
    },
    "y has shape (30,), t (31,)": {"t": T, "y": Y[1:]},
    "t[3]: t is missing (NaN), but y has a value": {"t": with_value(3, np.nan), "y": Y},
    "t[3]: t is inf, but y has a value": {"t": with_value(3, np.inf), "y": Y},
    "y[5] is infinite; set it to NaN": {"t": T, "y": with_value(5, np.inf)},
    "y holds no value, all 31 are NaN or infinite": {"t": T, "y": np.full(31, np.nan)},
    "it holds Python objects": {"t": T, "y": Y.astype(object)},
    "the weight [4] is -1; weights are 1 / error": {"t": T, "y": Y, "w": with_value(4, -1)},
    "the weight [4] is nan": {"t": T, "y": Y, "w": with_value(4, np.nan)},
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_arrays_that_do_not_fit_are_told_by_place_and_remedy(tmp_path, words):
    arrays = REFUSED[words]
    with pytest.raises(DataError) as caught:
        read(tmp_path, arrays, **({"weights": "w"} if "w" in arrays else {}))
    assert words in str(caught.value)


def test_points_without_t_and_y_are_left_out(tmp_path):
    found = read(tmp_path, {"t": with_value(3, np.nan), "y": with_value(3, np.nan), "w": np.ones(31)}, weights="w")
    assert found.t.shape == found.y.shape == found.weights.shape == (30,)
    assert "the first is number 3" in found.notes[0]


def test_numbers_for_no_value_and_keys_of_text_files(tmp_path):
    assert np.isnan(read(tmp_path, {"t": T, "y": with_value([2, 9], -999)}, missing=-999).y).sum() == 2
    with pytest.raises(ConfigError, match="decimal is for text files"):
        read(tmp_path, {"t": T, "y": Y}, decimal=",")


def test_fill_values_and_scales_of_netcdf(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"], file["y"] = T, np.array([100, -32768, 300] + [0] * 28, dtype=np.int16)
        file["y"].attrs["_FillValue"] = np.array([-32768], dtype=np.int16)
        file["y"].attrs["scale_factor"], file["y"].attrs["add_offset"] = 0.01, 1.0
    found = read_data(str(tmp_path / "a.h5"), FitConfig.model_validate({"model": [{"kind": "gaussians"}]}))
    assert_allclose(found.y[:3], [2.0, np.nan, 4.0])
    assert any("1 values are _FillValue" in note for note in found.notes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("model: [{kind: exponentials, n: 1}, {kind: constant}]\n")
    return tmp_path


def test_notes_stand_on_the_screen_in_the_dry_run_and_in_the_result(folder, capsys):
    rows = "".join(f"{t:g},{y:.6g}\n" for t, y in zip(T, Y, strict=True))
    (folder / "a.csv").write_text("Model,X1\n\nt,y\ns,V\n" + rows + "[END]\n")
    assert fit.main(["c.yaml", "a.csv"]) == 0
    out = capsys.readouterr().out
    assert fit.main(["c.yaml", "a.csv", "--dry-run"]) == 0
    dry = capsys.readouterr().out
    notes = json.loads((folder / "runs/c/result.json").read_text())["notes"]
    for words in ("line 4 holds units (s, V)", "line 1 before the table not read", "behind the table not read"):
        assert words in out
        assert words in dry
        assert any(words in note for note in notes)


def test_a_shared_fit_where_every_row_misses_a_value(folder, capsys):
    lines = [
        f"{t:g},{'' if i % 2 else f'{y:.6g}'},{f'{2 * y:.6g}' if i % 2 else ''}\n"
        for i, (t, y) in enumerate(zip(T, Y, strict=True))
    ]
    (folder / "a.csv").write_text("t,a,b\n" + "".join(lines))
    assert fit.main(["c.yaml", "a.csv", "--set", "shared=true", "--dry-run"]) == 0
    assert "tau_1 = " in capsys.readouterr().out


def test_pixels_without_a_value_keep_their_place_and_a_status(folder, capsys):
    y = np.stack([Y, np.full(31, np.nan), 2 * Y])
    np.savez("a.npz", t=T, y=y)
    assert fit.main(["c.yaml", "a.npz", "--quiet"]) == 0
    rows = list(csv.DictReader((folder / "runs/c/table.csv").open()))
    assert [row["status"] in ("cost_tolerance", "step_tolerance", "gradient_tolerance") for row in rows] == [
        True,
        False,
        True,
    ]
    np.savez("b.npz", t=T, y=np.full((3, 31), np.nan))
    assert fit.main(["c.yaml", "b.npz", "--quiet", "--output", "b"]) == 2
    assert "y holds no value, all 93 are NaN or infinite" in capsys.readouterr().err


def test_a_fit_that_does_not_converge_says_why(folder, capsys):
    np.savez("a.npz", t=T, y=Y)
    assert fit.main(["c.yaml", "a.npz", "--set", "max_iterations=1", "--set", "start=[50.0]"]) == 0
    out = capsys.readouterr().out
    result = json.loads((folder / "runs/c/result.json").read_text())
    status = next(s for s in Status if s.label == result["status"])
    assert not result["success"]
    assert not status.converged
    assert f"not converged: {status.message}" in out
