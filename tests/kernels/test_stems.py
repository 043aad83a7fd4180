"""A kernel has one name everywhere: whoever lists `**/*<stem>*` finds contract, code, entry and checks."""

from pathlib import Path

import pytest

from varpro.cli.bench import STEMS as BENCHED

ROOT = Path(__file__).resolve().parents[2]
STEMS = sorted(p.parent.name for p in (ROOT / "varpro/kernels").glob("*/__init__.py"))
PLACES = {
    "contract": "csrc/kernels/{}.hpp",
    "CPU code": "csrc/cpu/{}.cpp",
    "binding of the CPU": "csrc/bindings/cpu/{}.cpp",
    "CUDA code": "csrc/cuda/{}*.cu",
    "binding of CUDA": "csrc/bindings/cuda/{}.cpp",
    "entry": "varpro/kernels/{}/__init__.py",
    "reference": "varpro/kernels/{}/reference.py",
    "CUDA side of the entry": "varpro/kernels/{}/cuda.py",
    "benchmark": "varpro/kernels/{}/bench.py",
    "test": "tests/kernels/test_{}.py",
    "test of CUDA": "tests/cuda/test_{}*.py",
}
ON_CUDA = {"CUDA code", "binding of CUDA", "CUDA side of the entry", "test of CUDA"}
ON_CPU = {"CPU code", "binding of the CPU"}
EXCEPTIONS = {  # stem, what it has not, and why
    "few_rows": (ON_CUDA, "a device's library multiplies a few rows as fast as many"),
    "gram": (ON_CUDA, "a device's Gram matrix is cuBLAS's (varpro/kernels/vendor.py)"),
    "jacobian_products": (ON_CPU, "the CPU's products are NumPy's, called by the entry"),
    "search": (ON_CUDA | {"benchmark"}, "a device searches inside small_fits, and so does what is timed"),
}


@pytest.mark.parametrize("stem", STEMS)
def test_everything_of_a_stem_is_found_by_its_name(stem):
    missing = {what for what, pattern in PLACES.items() if not list(ROOT.glob(pattern.format(stem)))}
    assert missing == EXCEPTIONS.get(stem, (set(), ""))[0]


def test_every_contract_and_binding_belongs_to_a_stem():
    """Also the other way: no file of a kernel that its stem's name does not find."""
    shared = {"launch", "portable", "variants", "module", "cpu", "cuda"}
    for folder in ("csrc/kernels", "csrc/bindings/cpu", "csrc/bindings/cuda"):
        names = {p.stem for p in (ROOT / folder).glob("*.?pp")} - shared
        strays = {name for name in names if not any(name == s or name.startswith(f"{s}_") for s in STEMS)}
        assert not strays, folder


def test_the_program_times_every_stem_that_has_a_benchmark():
    assert sorted(BENCHED) == sorted(p.parent.name for p in (ROOT / "varpro/kernels").glob("*/bench.py"))


def test_exceptions_are_of_stems_that_exist():
    assert set(EXCEPTIONS) <= set(STEMS)
