"""Every variant of the compiled kernels passes the kernels' tests: those that this processor runs, and 64-byte vectors.

The AVX-512 variant is the only one with vectors of 64 bytes.  Its logic is tested even on a processor without AVX-512:
the kernels are compiled once more with such vectors, which the compiler builds from smaller registers.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from varpro import _cpu

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
COMMON = ["-std=c++20", "-fPIC", "-fvisibility=hidden", "-Wno-psabi"]
# as in cmake/kernels.cmake, less optimised: this is compiled for one run
LOOPS = ["-O1", "-ftree-vectorize", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-march=native"]
WIDE = ["-DVARPRO_ISA=baseline", "-DVARPRO_LANE_BYTES=64"]
RUN_TESTS = """
import importlib.util, sys
import pytest
if sys.argv[1]:
    spec = importlib.util.spec_from_file_location("varpro._cpu", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["varpro._cpu"] = module  # before varpro looks for it
from varpro.kernels import few_rows
if sys.argv[1]:
    assert few_rows._cpu is module
else:
    assert few_rows._cpu.instruction_set == sys.argv[2]
sys.exit(pytest.main(sys.argv[3:]))
"""


def in_new_process(*arguments, **settings):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=840,
    )


def assert_kernels_pass(module, variant):
    """The tests of this folder in a process of their own, with that variant, or with the module in its place."""
    tests = [HERE, "--ignore", __file__, "-q", "-x", "-p", "no:cacheprovider"]
    done = in_new_process("-c", RUN_TESTS, module, variant, *tests, VARPRO_INSTRUCTION_SET=variant)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout


@pytest.mark.timeout(900)  # all tests of the kernels once more
@pytest.mark.parametrize("variant", [name for name in _cpu.instruction_sets if name != _cpu.instruction_set])
def test_every_variant_that_runs_here_passes_the_tests_of_the_kernels(variant):
    assert_kernels_pass("", variant)


def sources(name):
    """What CMake compiles under that name."""
    return re.search(rf"set\({name}\s+([^)]*)\)", (ROOT / "cmake/kernels.cmake").read_text())[1].split()


@pytest.fixture(scope="session")
def compiler():
    found = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "c++"))), None)
    if found is None:
        pytest.skip("no C++ compiler: kernels with vectors of other sizes cannot be compiled")
    return found


@pytest.fixture(scope="session")
def wide_module(tmp_path_factory, compiler):
    """varpro._cpu with one variant, of 64-byte vectors, for the processor at hand."""
    pybind11 = pytest.importorskip("pybind11")
    folder = tmp_path_factory.mktemp("wide")
    include = [f"-I{path}" for path in (pybind11.get_include(), sysconfig.get_paths()["include"])]
    commands = {source: [*LOOPS, *WIDE] for source in sources("VARPRO_SIMD_SOURCES")}
    commands |= {source: ["-O0", *include] for source in sources("VARPRO_PLAIN_SOURCES")}

    def compiled(source):
        out = folder / f"{source.replace('/', '_')}.o"
        subprocess.run([compiler, *COMMON, *commands[source], "-c", str(ROOT / source), "-o", str(out)], check=True)
        return out

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, commands))
    module = folder / f"_cpu{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([compiler, "-shared", *map(str, objects), "-o", str(module)], check=True)
    return module


@pytest.mark.timeout(900)  # it compiles every kernel
def test_vectors_of_64_bytes_pass_the_tests_of_the_kernels(wide_module):
    assert_kernels_pass(wide_module, "baseline")


@pytest.mark.parametrize("lane_bytes", [16, 32, 64])
def test_the_exponential_errs_by_less_than_two_units_in_the_last_place(lane_bytes, tmp_path, compiler):
    program = tmp_path / "exponential_error"
    source = HERE / "exponential_error.cpp"
    options = ["-DVARPRO_ISA=baseline", f"-DVARPRO_LANE_BYTES={lane_bytes}"]
    subprocess.run([compiler, *COMMON, *LOOPS, *options, str(source), "-o", str(program)], check=True)
    double, single, limits_hold = subprocess.run([program], check=True, capture_output=True).stdout.split()
    assert float(double) < 2
    assert float(single) < 2
    assert int(limits_hold) == 1


def test_the_widest_variant_is_taken_unless_another_is_named():
    show = "from varpro import _cpu; print(_cpu.instruction_set)"
    assert in_new_process("-c", show, VARPRO_INSTRUCTION_SET="").stdout.split() == [_cpu.instruction_sets[-1]]
    for name in _cpu.instruction_sets:
        assert in_new_process("-c", show, VARPRO_INSTRUCTION_SET=name).stdout.split() == [name]


def test_a_variant_that_does_not_run_here_is_refused_by_name():
    done = in_new_process("-c", "import varpro; varpro.fit", VARPRO_INSTRUCTION_SET="avx1024")
    assert done.returncode != 0
    for word in ("ImportError", "VARPRO_INSTRUCTION_SET=avx1024", *_cpu.instruction_sets):
        assert word in done.stderr
