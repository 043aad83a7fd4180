"""The memory that --dry-run tells is that which a rank takes."""

import os
import re
import subprocess
import sys

import pytest

from varpro.config.training import load_config
from varpro.models.units import UnitSize
from varpro.train.scalarized import memory

MEASURED = """
import re, sys
from pathlib import Path
from varpro.cli import train
from varpro.train.scalarized import trainer
trainer.measured_gemm_gflops = lambda dtype: 1.0
code = train.main(sys.argv[1:])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""
CASES = {
    "sub-networks": ["subnetworks=1", "units=250", "samples=1000", "search.iterations=1"],
    "gluing": ["subnetworks=20", "units=120", "samples=150", "search.iterations=1", "glue.ridge=1"],
    "refinement": [
        "subnetworks=0", "units=300", "refine.enabled=true", "refine.iterations=1", "refine.first_rows=1000",
        "refine.products=2",
    ],
    "refinement of several steps": [
        "subnetworks=0", "units=200", "refine.enabled=true", "refine.iterations=4", "refine.first_rows=900",
        "refine.growth=1.1", "refine.products=2",
    ],
    "conjugate gradients": [
        "subnetworks=200", "units=100", "samples=101", "search.iterations=1", "glue.method=cg", "glue.ridge=1e3",
    ],
}  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize("phase", CASES)
def test_the_estimate_is_within_15_per_cent_of_the_peak(tmp_path, phase):
    settings = [*CASES[phase], "control=false", "bootstrap=false"]
    arguments = ["digits_quadratic", *(part for setting in settings for part in ("--set", setting))]
    one = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

    def run(*options):
        command = [sys.executable, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=250, check=True, env=one).stdout

    told = run("-m", "varpro.cli.train", *arguments, "--dry-run")
    estimate = 1e9 * float(re.search(r"memory +about ([\d.]+) GB a rank", told)[1])
    peak = 1024 * int(run("-c", MEASURED, *arguments, "--quiet", "--output", str(tmp_path / "o")).split()[-1])
    assert estimate > memory.LIBRARIES + 1.05 * memory.REPORT  # or this would be no test of the phase
    assert estimate == pytest.approx(peak, rel=0.15)


@pytest.mark.parametrize("method", ["gram", "cg", "tsqr"])
def test_gluing_counts_the_columns_that_it_holds(method):
    """All of Phi, half of it on each of two ranks, as long as it fits into glue.memory."""

    def gluing(gigabytes):
        config = load_config("mnist_fast", overrides=[f"glue.method={method}", f"glue.memory={gigabytes}"])
        size = UnitSize(parameters=19, multiplications=1.0, columns=16)
        return memory.phase_bytes(config, (1, 28, 28), n_train=50_000, n_classes=10, ranks=2, threads=1, size=size)[
            "gluing"
        ]

    columns = 128 * 16 + 1
    assert gluing(1.0) - gluing(0.3) == pytest.approx(4 * 50_000 * columns / 2 - 2 * 8 * 2000 * columns)
