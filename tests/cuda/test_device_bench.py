"""The GPU benchmark, tried at small sizes: every case equals its reference, and the table says what was measured."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def gpu(xp, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("gpu", "gpu_fits", "gpu_kernels", "gpu_small_cases"):
        sys.modules.pop(name, None)
    import gpu

    return gpu


def test_cases_are_right_and_told(gpu, capsys):
    device = gpu.Device.choose()
    rates = {"copy": 1.0, "fp64": 1.0, "fp32": 1.0, "tf32": 1.0}
    clock = gpu.Clock(device, 1e-4)
    records = gpu.measure_kernels(device, clock, gpu.Size(2, 33, 5, 3, 2), rates)
    assert not [r for r in records if "failed" in r]
    assert {r["kernel"] for r in records} >= {"scalarize", "jacobian_products", "gauss_newton", "projector"}
    assert all(r["floor_s"] > 0 and r["median_s"] > 0 for r in records)
    records += gpu.measure_iteration(device, clock, gpu.Size(2, 33, 5, 3, 2))
    records += gpu.measure_fits(device, 20)
    assert not [r for r in records if "failed" in r]
    report = {"device": "d", "date": "2000-01-01", "limits": rates, "kernels": records, "training": []}
    text = gpu.table(report)
    assert "assemble with damping" in text
    assert "tf32" in text


def test_a_wrong_kernel_is_not_timed(gpu, monkeypatch):
    def wrong(device, size):
        yield gpu_kernels.Case("k", "wrong", "float64", lambda: None, lambda: 1.0, 1e-12, 1.0, 1.0, "fp64")

    import gpu_kernels

    monkeypatch.setattr(gpu, "cases", wrong)
    (record,) = gpu.measure_kernels(gpu.Device.choose(), gpu.Clock(None), gpu.Size(), {"copy": 1.0, "fp64": 1.0})
    assert "failed" in record
    assert "median_s" not in record
