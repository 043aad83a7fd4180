"""The example scripts, in their quick form: what they find is near the truth, and each writes its figure."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

pytest.importorskip("matplotlib")


def run(name, folder, *arguments):
    """What main returns, after a look at its figure."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.main(["--quick", "--output", str(folder / "figures"), *arguments])
    figure = (folder / "figures" / f"{name}.png").read_bytes()
    assert figure.startswith(b"\x89PNG")
    assert len(figure) > 10_000  # an empty canvas of this size takes about 5 kB
    return found


def test_nist_problem_reaches_the_certified_values(tmp_path):
    found = run("nist_problem", tmp_path)
    assert found["success"]
    assert found["digits"] >= 6
    assert found["error_digits"] >= 4
    assert found["rss"] == pytest.approx(5.6427082397e3, rel=1e-10)
    assert found["rss_guessed"] == pytest.approx(5.6427082397e3, rel=1e-9)


def test_time_resolved_spectra_give_back_the_lifetimes(tmp_path):
    found = run("time_resolved_spectra", tmp_path)
    assert found["form"] == "compressed"
    assert (np.abs(found["lifetimes"] - found["truth"]) < 4 * found["stderr"]).all()
    assert found["lifetimes"] == pytest.approx(found["truth"], rel=0.02)
    assert found["sigma"] == pytest.approx(found["noise"], rel=0.02)
    assert found["spectra_error"] < found["noise"]


def test_lifetime_image_is_right_and_its_errors_are_honest(tmp_path):
    found = run("lifetime_image", tmp_path)
    assert found["converged"] == 1.0
    assert found["counts"]["invalid_data"] > 0
    assert found["counts"]["too_few_points"] > 0
    assert found["median_error"] < 0.15  # about 700 photons a pixel: 0.09 ns
    assert abs(found["bias"]) < 0.02
    assert 0.63 < found["within_one"] < 0.73  # of about 2,500 pixels: 0.683 +- 0.01


def test_dmd_forecast_is_as_good_as_it_says(tmp_path):
    found = run("dmd_forecast", tmp_path)
    assert (found["eigenvalues"].real <= 0).all()
    for truth in found["truth"]:
        nearest = int(np.argmin(np.abs(found["eigenvalues"] - truth)))
        off, error = found["eigenvalues"][nearest] - truth, found["stderr"][nearest]
        assert abs(off.real) < 4 * error.real
        assert abs(off.imag) < 4 * error.imag
    assert found["inside"] > 0.8
    assert (tmp_path / "figures" / "dmd_forecast_modes.png").read_bytes().startswith(b"\x89PNG")


def test_optimised_dmd_finds_the_eigenvalues(tmp_path):
    found = run("optimised_dmd", tmp_path)
    assert found["success"]
    assert np.abs(found["eigenvalues"] - found["truth"]).max() < 0.02
    assert found["rebuilt"] < 0.15  # the data are off by 0.6


def test_own_model_keeps_its_constraints_and_finds_the_truth(tmp_path):
    found = run("own_model_with_constraints", tmp_path)
    assert found["success"]
    assert found["splitting"] == pytest.approx(3.67, abs=1e-12)
    assert max(abs(pull) for pull in found["pulls"].values()) < 4
    assert 0.7 < found["reduced_chi2"] < 1.3  # 253 degrees of freedom: 1 +- 0.09
