"""varpro-fit writes what varpro.fit and varpro.fit_batch return, and reports a mistake in one line."""

import csv
import json

import h5py
import numpy as np
import pytest
import yaml

import varpro
from tests.mpi import run_mpi
from tests.report.example import check_image
from varpro import models
from varpro.cli import fit

T = np.linspace(0.0, 12.0, 61)
RNG = np.random.default_rng(2)
CURVE = 3.0 * np.exp(-T / 2.0) + 0.5 + 0.02 * RNG.standard_normal(T.size)
TAU = 1.5 + 0.1 * np.arange(20).reshape(4, 5)
IMAGE = 2.0 * np.exp(-T / TAU[..., None]) + 0.3 + 0.02 * RNG.standard_normal((4, 5, T.size))
MODEL = "model: [{kind: exponentials, n: 1}, {kind: constant}]\n"
READY = models.Exponentials(1) + models.Constant()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a config and a curve."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(MODEL)
    np.savetxt("curve.csv", np.stack([T, CURVE], axis=1), delimiter=",", header="time,signal", comments="")
    image = IMAGE.copy()
    image[1, 2] = np.inf
    np.savez("image.npz", t=T, y=image)
    return tmp_path


def run(*arguments):
    assert fit.main([*map(str, arguments), "--quiet"]) == 0


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return np.array([float(row[name] or "nan") for row in rows])


def test_a_curve_is_fitted_as_by_varpro_fit(folder, capsys):
    assert fit.main(["c.yaml", "curve.csv"]) == 0
    expected = varpro.fit(READY, T, CURVE)
    shown = capsys.readouterr()
    assert "tau_1" in shown.out
    assert "fit 1/1" in shown.err
    found = json.loads((folder / "runs/c/result.json").read_text())
    assert found["success"]
    assert found["nonlinear"]["tau_1"] == pytest.approx(expected.nonlinear[0])
    np.testing.assert_allclose(found["stderr_linear"], expected.stderr_linear)
    (row,) = table(folder / "runs/c/table.csv")
    assert float(row["tau_1"]) == pytest.approx(expected.nonlinear[0])
    assert float(row["stderr a offset"]) == pytest.approx(expected.stderr_linear[1])
    assert row["status"] == expected.status.label
    check_image((folder / "runs/c/fit.png").read_bytes())


def test_the_resolved_config_gives_the_same_fit(folder):
    options = ["bounds={tau_1: [0.1, 1.9]}", "loss=huber", "loss_scale=0.1", "linear=[0, null]", "start=[1.0]"]
    run("c.yaml", "curve.csv", "--output", "a", *[part for option in options for part in ("--set", option)])
    run("a/config.resolved.yaml", "curve.csv", "--output", "b")
    first, second = (json.loads((folder / name / "result.json").read_text()) for name in "ab")
    assert first["nonlinear"] == second["nonlinear"] == {"tau_1": pytest.approx(1.9)}
    resolved = yaml.safe_load((folder / "a/config.resolved.yaml").read_text())
    assert resolved["model"] == [{"kind": "exponentials", "n": 1}, {"kind": "constant"}]


@pytest.mark.parametrize(("kind", "names"), [
    ("{kind: gaussians, n: 2, shared_width: true}", ["center_1", "center_2", "width"]),
    ("{kind: lorentzians, offset: true}", ["center_1", "width_1"]),
    ("{kind: voigt}", ["center_1", "sigma_1", "gamma_1"]),
    ("{kind: damped_sinusoids}", ["damping_1", "omega_1"]),
    ("{kind: rational, p: 1, q: 1}", ["w_1"]),
    ("[{kind: exponentials, rates: true}, {kind: polynomial, degree: 2}]", ["k_1"]),
    ("[{kind: powers, n: 1}, constant]", ["exponent_1"]),
])  # fmt: skip
def test_every_kind_of_model(folder, capsys, kind, names):
    (folder / "m.yaml").write_text(f"model: {kind}\n")
    assert fit.main(["m.yaml", "curve.csv", "--dry-run"]) == 0
    start = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("start  "))
    assert [part.split(" = ")[0].split()[-1] for part in start.split(", ")] == names or kind.startswith("{kind: rat")
    assert "(guessed)" in start
    assert not (folder / "runs").exists()


TEXTS = {
    "comma.csv": ("time,signal,w\n", ",", "."),
    "excel.csv": ("time;signal;w\n", ";", ","),
    "tab.tsv": ("time\tsignal\tw\n", "\t", "."),
    "commented.txt": ("# measured in May\n# time signal w\n", "  ", "."),
    "quoted.csv": ('"time","signal","w"\n', ",", "."),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_files_by_name_and_by_number(folder, name):
    header, delimiter, point = TEXTS[name]
    rows = [delimiter.join(f"{x:.10g}".replace(".", point) for x in row) for row in zip(T, CURVE, 1 + T, strict=True)]
    (folder / name).write_text(header + "\n".join(rows) + "\n")
    run("c.yaml", name, "--set", "columns={t: time, y: signal}", "--set", "weights=w", "--output", "named")
    run("c.yaml", name, "--set", "columns={t: 0, y: [1]}", "--set", "weights=2", "--output", "numbered")
    expected = varpro.fit(READY, T, CURVE, weights=1 + T)
    for output in ("named", "numbered"):
        np.testing.assert_allclose(column(table(folder / output / "table.csv"), "tau_1"), expected.nonlinear, rtol=1e-6)


def test_no_header_empty_cells_and_several_columns(folder):
    lines = [f"{t},{a},{'' if i == 3 else b}" for i, (t, a, b) in enumerate(zip(T, CURVE, 2 * CURVE, strict=True))]
    (folder / "two.csv").write_text("\n".join(lines))
    run("c.yaml", "two.csv", "--output", "each")
    rows = table(folder / "each/table.csv")
    assert [row["problem"] for row in rows] == ["0", "1"]
    run("c.yaml", "two.csv", "--set", "shared=true", "--output", "together")
    (row,) = table(folder / "together/table.csv")
    assert float(row["a exp_1 1"]) == pytest.approx(2 * float(row["a exp_1 0"]), rel=1e-2)


def test_an_image_keeps_its_pixels_and_a_bad_one_stays_alone(folder):
    run("c.yaml", "image.npz")
    rows = table(folder / "runs/c/table.csv")
    expected = varpro.fit_batch(READY, T, IMAGE.reshape(20, -1))
    assert [(row["index_0"], row["index_1"]) for row in rows[4:6]] == [("0", "4"), ("1", "0")]
    good = np.arange(20) != 7
    np.testing.assert_allclose(column(rows, "tau_1")[good], expected.nonlinear[good, 0], rtol=1e-5)
    np.testing.assert_allclose(column(rows, "stderr tau_1")[good], expected.stderr_nonlinear[good, 0], rtol=1e-3)
    assert rows[7]["status"] == "invalid_data"
    assert rows[7]["tau_1"] == ""
    found = json.loads((folder / "runs/c/result.json").read_text())
    assert (found["shape"], found["converged"], found["status"]["invalid_data"]) == ([4, 5], 19, 1)
    check_image((folder / "runs/c/fit.png").read_bytes())


def test_two_ranks_write_the_table_of_one(folder):
    run("c.yaml", "image.npz", "--output", "one")
    arguments = ["c.yaml", "image.npz", "--output", "two", "--quiet"]
    run_mpi(2, "-m", "varpro.cli.fit", *arguments, runner=(), cwd=folder).check()
    assert (folder / "two/table.csv").read_text() == (folder / "one/table.csv").read_text()
    assert json.loads((folder / "two/result.json").read_text())["ranks"] == 2


def test_hdf5_with_keys_weights_and_a_grid_of_each_problem(folder):
    with h5py.File("b.h5", "w") as file:
        file["scan/time"] = np.tile(T, (20, 1))
        file["scan/counts"], file["errors"] = IMAGE.reshape(20, -1), np.full(T.size, 2.0)
    run("c.yaml", "b.h5", "--set", "columns={t: scan/time, y: scan/counts}", "--set", "weights=errors")
    expected = varpro.fit_batch(READY, T, IMAGE.reshape(20, -1), weights=np.full(T.size, 2.0))
    np.testing.assert_allclose(column(table(folder / "runs/c/table.csv"), "rss"), expected.rss, rtol=1e-6)


MISTAKES = {
    "unknown key modle; did you mean model?": {"text": "modle: []\n"},
    "model is missing; add it, for example model: [": {"text": "ridge: 1\n"},
    "is empty; it needs at least model: [": {"text": ""},
    "model, summand 1: kind is 'exponential'": {"text": "model: exponential\n"},
    "summand 2: unknown key offst; did you mean offset?": {"text": "model: [constant, {kind: powers, offst: true}]\n"},
    "summand 1 has p, which exponentials does not take": {"text": "model: {kind: exponentials, p: 1}\n"},
    "summand 1 needs q, such as": {"text": "model: {kind: rational, p: 1}\n"},
    "summand 1: n is 0": {"text": "model: {kind: powers, n: 0}\n"},
    "has only linear parameters": {"text": "model: constant\n"},
    "--set ridge=-1: ridge is -1; it must be gcv or a number >= 0": {"set": "ridge=-1"},
    "unknown key columns.time; did you mean": {"set": "columns.time=1"},
    "linear is 'positive'; it must be free, nonnegative or [lower, upper]": {"set": "linear=positive"},
    "bounds.tau_1 is 5; it must be [lower, upper]": {"set": "bounds={tau_1: 5}"},
    "fixed is 3; it must be a list of names, or a mapping name: value": {"set": "fixed=3"},
    "tied.tau_1 is [1]; it must be": {"set": "tied={tau_1: [1]}"},
    "start has 2 values; the model has 1: tau_1": {"set": "start=[1, 2]"},
    "bounds: no parameter is called 'tau'": {"set": "bounds={tau: [0, 1]}"},
    "no column 'volts' for columns.y": {"set": "columns.y=volts"},
    "no column 9 for weights": {"set": "weights=9"},
    "nowhere.csv: no such file": {"data": "nowhere.csv"},
    "the ending .xlsx is not known": {"data": "a.xlsx"},
    "line 3, column 1: 'x' is no number": {"data": "bad.csv"},
    "line 2: 3 cells, 2 expected": {"data": "ragged.csv"},
    "holds no array called t; it holds time": {"data": "other.npz"},
    "cannot be read": {"data": "broken.h5"},
    "multistart is for a single fit": {"data": "image.npz", "set": "multistart=3"},
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_one_line_and_leave_nothing(folder, capsys, words):
    case = MISTAKES[words]
    (folder / "c.yaml").write_text(case.get("text", MODEL))
    for name, text in {
        "bad.csv": "t,y\n0,1\n1,x\n",
        "ragged.csv": "0,1\n1,2,3\n",
        "a.xlsx": "",
        "broken.h5": "x",
    }.items():
        (folder / name).write_text(text)
    np.savez("other.npz", time=T)
    overrides = ["--set", case["set"]] if "set" in case else []
    assert fit.main(["c.yaml", case.get("data", "curve.csv"), "--quiet", *overrides]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("varpro-fit: error: ")
    assert error.count("\n") == 1
    assert not (folder / "runs/c").exists()


def test_results_are_not_overwritten_unasked(folder, capsys):
    run("c.yaml", "curve.csv")
    assert fit.main(["c.yaml", "curve.csv"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    run("c.yaml", "curve.csv", "--overwrite")
