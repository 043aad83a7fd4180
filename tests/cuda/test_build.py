"""VARPRO_CUDA decides; the module imports without a driver and says so when used."""

import importlib.util
import shutil
import subprocess

import pytest

from tests.cuda.host import KERNELS, ROOT
from varpro.errors import BackendError

cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not on PATH: nothing can be configured")
module = pytest.mark.skipif(
    importlib.util.find_spec("varpro._cuda") is None, reason="this installation was built without a CUDA compiler"
)


@pytest.fixture
def configure(tmp_path):
    """CMake's words for the CUDA part alone, by default on a machine where it finds no CUDA compiler."""
    project = f"cmake_minimum_required(VERSION 3.22)\nproject(part LANGUAGES NONE)\ninclude({ROOT}/cmake/cuda.cmake)\n"
    (tmp_path / "CMakeLists.txt").write_text(project)

    def run(*options):
        command = ["cmake", "-S", str(tmp_path), "-B", str(tmp_path / "build"), "-DCMAKE_CUDA_COMPILER=NOTFOUND"]
        return subprocess.run([*command, *options], capture_output=True, text=True)

    return run


@cmake
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no CUDA compiler was found, building for the CPU only"),
        (["-DVARPRO_CUDA=AUTO"], "no CUDA compiler was found, building for the CPU only"),
        (["-DVARPRO_CUDA=OFF"], "VARPRO_CUDA=OFF, building for the CPU only"),
    ],
)
def test_without_a_compiler_there_is_a_message_and_no_failure(configure, options, message):
    done = configure(*options)
    assert done.returncode == 0, done.stderr
    assert message in done.stdout


@cmake
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("-DVARPRO_CUDA=ON", "VARPRO_CUDA=ON, but no CUDA compiler was found: put nvcc on PATH"),
        ("-DVARPRO_CUDA=maybe", "VARPRO_CUDA=maybe is not known: use ON, OFF or AUTO"),
    ],
)
def test_what_cannot_be_built_is_an_error(configure, option, message):
    done = configure(option)
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())


def test_every_kernel_is_built_and_tested():
    found = sorted((ROOT / "csrc/cuda").glob("*.cu"))
    assert found == sorted(KERNELS)
    listed = (ROOT / "cmake/cuda.cmake").read_text()
    assert all(f"csrc/cuda/{source.name}" in listed for source in found)


def devices():
    from varpro import _cuda

    try:
        return _cuda.device_count()
    except BackendError:
        return 0


@module
def test_a_device_that_is_not_there_is_a_backend_error():
    from varpro import _cuda

    count = devices()
    message = (
        rf"quadratic: device {count} was asked for" if count else r"CUDA was asked for, but (its driver|this machine)"
    )
    arguments = dict.fromkeys(("images", "index", "w", "phi", "d", "problems", "n", "stream"), 0)
    shape = {"planes": 1, "side": 1, "units": 1, "pixel": "float64"}
    flags = dict.fromkeys(("w_is_float", "d_is_float", "logistic"), False)
    with pytest.raises(BackendError, match=message):
        _cuda.quadratic(**arguments, **shape, **flags, device=count)


@module
@pytest.mark.skipif(shutil.which("ldd") is None, reason="ldd is not on PATH: linked libraries cannot be listed")
def test_the_module_links_no_cuda_library():
    spec = importlib.util.find_spec("varpro._cuda")
    listed = subprocess.run(["ldd", spec.origin], capture_output=True, text=True, check=True).stdout
    assert "libcu" not in listed
