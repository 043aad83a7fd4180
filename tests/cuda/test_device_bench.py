"""The GPU benchmark, tried at small sizes on the stand-in: what is checked, what is kept, when it ends."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

# before the stand-in is in the place of CuPy: pydantic looks into every module that there is
import varpro.config.training  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
RATES = {"copy": 1.0, "fp64": 1.0, "fp32": 1.0, "tf32": 1.0}
MODULES = ("gpu", "gpu_convolve", "gpu_fits", "gpu_kernels", "gpu_network", "gpu_projector", "gpu_results", "gpu_table")


@pytest.fixture
def gpu(xp, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    for name in MODULES:
        sys.modules.pop(name, None)
    import gpu

    return gpu


@pytest.fixture
def results(gpu, tmp_path):
    return gpu.Results(tmp_path / "gpu.json")


def test_cases_are_right_and_told(gpu, results):
    device = gpu.Device.choose()
    clock, size = gpu.Clock(device, 1e-4), gpu.Size(2, 33, 6, 3, 2)
    gpu.measure_kernels(device, clock, size, RATES, results)
    records = json.loads(results.path.read_text())["kernels"].values()
    assert not [r for r in records if "failed" in r]
    assert {r["kernel"] for r in records} >= {
        "scalarize",
        "jacobian_products",
        "gauss_newton",
        "projector",
        "convolve",
        "windows",
        "cholesky",
    }
    assert all(r["floor_s"] > 0 and r["median_s"] > 0 for r in records)
    gpu.measure_iteration(device, clock, size, results)
    for record in gpu.measure_fits(device, 20):
        results.put("kernels", record["dtype"], record)
    assert not [r for r in results.content["kernels"].values() if "failed" in r]
    from gpu_table import table

    text = table(results.content | {"device": {"name": "d"}, "limits": RATES})
    assert "assemble with damping" in text
    assert "tf32" in text


def test_a_wrong_case_is_not_timed_and_takes_no_other_with_it(gpu, results, monkeypatch):
    def some(device, size):
        yield gpu.Case("k", "wrong", "float64", lambda: None, lambda: 1.0, 1e-12, 1.0, 1.0, "fp64")
        yield gpu.Case("k", "raises", "float64", lambda: None, lambda: 1 / 0, 1e-12, 1.0, 1.0, "fp64")
        yield gpu.Case("k", "right", "float64", lambda: None, lambda: 0.0, 1e-12, 1.0, 1.0, "fp64")
        raise MemoryError("no room")

    monkeypatch.setattr(gpu, "parts", lambda: {"some": some})
    for name in ("projector_cases", "convolve_cases", "network_cases"):
        monkeypatch.setattr(gpu, name, lambda device, size: iter(()))
    device = gpu.Device.choose()
    gpu.measure_kernels(device, gpu.Clock(device, 1e-4), gpu.Size(), RATES, results)
    wrong, raises, right, broken = results.content["kernels"].values()
    assert "above" in wrong["failed"]
    assert "median_s" not in wrong
    assert "ZeroDivisionError" in raises["failed"]
    assert right["median_s"] > 0
    assert broken == {"kernel": "some: MemoryError: no room", "name": "", "dtype": "", "failed": "cannot be built"}
    assert not gpu.check_small(device, results)


def test_what_is_known_is_not_measured_again(gpu, results, monkeypatch):
    calls = []

    def one(device, size):
        yield gpu.Case("k", "one", "float64", lambda: calls.append(1), lambda: 0.0, 1e-12, 1.0, 1.0, "fp64")

    monkeypatch.setattr(gpu, "parts", lambda: {"one": one})
    for name in ("projector_cases", "convolve_cases", "network_cases"):
        monkeypatch.setattr(gpu, name, lambda device, size: iter(()))
    device = gpu.Device.choose()
    gpu.measure_kernels(device, gpu.Clock(device, 1e-4), gpu.Size(), RATES, results)
    before = len(calls)
    again = gpu.Results(results.path)
    gpu.measure_kernels(device, gpu.Clock(device, 1e-4), gpu.Size(), RATES, again)
    assert before > 0
    assert len(calls) == before


def shell(module, folder, seconds, sanitizer):
    """bench/gpu.sh with the stand-in, and how long it took."""
    options = (
        "--tiny --set subnetworks=2 --set units=3 --set samples=60 --set search.iterations=2 --set bootstrap=false"
    )
    settings = {
        "PYTHON": sys.executable, "GPU_BENCH": f"{sys.executable} tests/cuda/bench_on_stand_in.py {module}",
        "GPU_RESULTS": str(folder), "GPU_SECONDS": str(seconds), "GPU_OPTIONS": options, "GPU_CASE_SECONDS": "0.001",
        "GPU_TRAINING": "train:digits:0", "GPU_TESTS": "tests/cuda/test_build.py", "GPU_REQUIRED": "",
        "GPU_SANITIZER": str(sanitizer), "VARPRO_DATA": "",
    }  # fmt: skip
    begun = time.monotonic()
    done = subprocess.run(
        ["bash", "bench/gpu.sh"], cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=600
    )
    return done, time.monotonic() - begun


@pytest.fixture
def sanitizer(tmp_path):
    """Runs the program that it is given, as compute-sanitizer does."""
    script = tmp_path / "sanitizer"
    script.write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do [[ $1 == *-api-* || $1 == *-tool || $1 == *exitcode || '
                      '$1 == *-regex ]] && shift; shift; done\nexec "$@"\n')  # fmt: skip
    script.chmod(0o755)
    return script


def test_the_whole_call_ends_in_time_and_goes_on_where_it_stopped(xp, device_module, tmp_path, sanitizer):
    if device_module is None:
        pytest.skip("a GPU is here: bench/gpu.sh itself can run")
    folder = tmp_path / "results"
    limit = 20
    first, seconds = shell(device_module, folder, limit, sanitizer)
    assert first.returncode == 1
    assert seconds < 2 * limit  # what is left to do after the end is to say what was not done
    assert "no time left: call again" in first.stdout
    begun = json.loads((folder / "gpu.json").read_text())
    assert set(begun["limits"]) == set(RATES)
    second, _ = shell(device_module, folder, 400, sanitizer)
    assert second.returncode == 0, second.stdout + second.stderr
    content = json.loads((folder / "gpu.json").read_text())
    assert all(step["exit"] == 0 for step in content["steps"].values())
    steps = ["device", "small cases", "kernels", "iteration", "fits", "train:digits:0", "tests on the device"]
    assert list(content["steps"]) == [*steps, "memcheck", "racecheck"]
    assert set(content["small"].values()) == {"right"}
    assert content["training"]["digits, seed 0"]["accuracy"] > 0.1
    assert "assemble with damping" in (folder / "gpu.md").read_text()
    assert len(list(folder.iterdir())) <= 8
    third, seconds = shell(device_module, folder, 400, sanitizer)
    assert third.returncode == 0
    assert "== " not in third.stdout


def test_what_lacks_and_cannot_be_installed_is_named(tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/bash\n[[ $2 == *find_spec* ]] && echo scipy\nexit 0\n")
    bare.chmod(0o755)
    settings = {"PYTHON": str(bare), "GPU_RESULTS": str(tmp_path / "results"), "WHEELS": "", "GPU_BENCH": "true"}
    done = subprocess.run(
        ["bash", "bench/gpu.sh"], cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "scipy not installed; WHEELS names a folder that holds them" in done.stderr
