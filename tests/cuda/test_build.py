"""VARPRO_CUDA decides; the module imports without a driver and says so when used."""

import ast
import importlib.util
import shutil
import subprocess

import pytest

from tests.cuda.host import KERNELS, ROOT
from varpro.arrays import runs_on
from varpro.errors import BackendError
from varpro.search.damping import DampingRule
from varpro.search.termination import Termination, rules_of

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


@pytest.fixture
def generator(monkeypatch):
    """How setup.py chooses a generator for a build folder."""
    import setuptools

    monkeypatch.setattr(setuptools, "setup", lambda **options: None)
    monkeypatch.delenv("CMAKE_GENERATOR", raising=False)
    spec = importlib.util.spec_from_file_location("varpro_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._generator


def test_ninja_builds_where_it_is_found(generator, monkeypatch, tmp_path):
    """pyproject.toml asks for ninja alone, and a bare image may have no make."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    assert generator(tmp_path) == ["-G", "Ninja", "-DCMAKE_MAKE_PROGRAM=/somewhere/ninja"]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert generator(tmp_path) == []


def test_a_folder_keeps_the_generator_it_began_with(generator, monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    monkeypatch.setenv("CMAKE_GENERATOR", "Unix Makefiles")
    assert generator(tmp_path) == []
    monkeypatch.delenv("CMAKE_GENERATOR")
    (tmp_path / "CMakeCache.txt").touch()
    assert generator(tmp_path) == []


def test_a_folder_of_an_isolated_build_gets_the_ninja_of_today_or_begins_anew(generator, monkeypatch, tmp_path):
    cache = tmp_path / "CMakeCache.txt"
    cache.write_text("CMAKE_GENERATOR:INTERNAL=Ninja\nCMAKE_MAKE_PROGRAM:FILEPATH=/gone/ninja\n")
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    assert generator(tmp_path) == ["-DCMAKE_MAKE_PROGRAM=/somewhere/ninja"]
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert generator(tmp_path) == []
    assert not cache.exists()


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


def kernels():
    """Each function of the stub that launches something, with its keywords."""
    stub = ast.parse((ROOT / "varpro/_cuda.pyi").read_text())
    functions = [node for node in stub.body if isinstance(node, ast.FunctionDef)]
    keywords = {f.name: [a.arg for a in f.args.kwonlyargs] for f in functions}
    return [(name, listed) for name, listed in keywords.items() if "device" in listed]


@module
@pytest.mark.parametrize(("name", "keywords"), kernels())
def test_a_device_that_is_not_there_is_a_backend_error(name, keywords):
    """Which also tells that the stub has the keywords of the module."""
    from varpro import _cuda

    count = devices()
    message = (
        rf"{name}: device {count} was asked for" if count else r"CUDA was asked for, but (its driver|this machine)"
    )
    known = {"device": count, "pixel": "float64", "kind": "pq", "squash": "tanh"}  # all else may be zero
    known |= {"rules": rules_of(DampingRule(), Termination()).by_name(), "arithmetic": "double"}
    arguments = {keyword: known.get(keyword, 0) for keyword in keywords}
    with pytest.raises(BackendError, match=message):
        getattr(_cuda, name)(**arguments)


@module
def test_the_module_tells_what_it_was_built_for():
    from varpro import _cuda

    assert _cuda.architectures.split()
    assert runs_on("900", _cuda.architectures) or "virtual" not in _cuda.architectures  # PTX runs on what is to come


@module
def test_the_bytes_of_a_workspace_need_no_device():
    from varpro import _cuda

    parts = 3  # of 16 images at most
    assert _cuda.scalarize_workspace(problems=2, n=37, units=8) == 2 * parts * 9 * 9 * 8
    assert _cuda.jacobian_products_workspace(problems=1, n=131, pairs=4, rank=3, outputs=2) == 2 * 5 * 4 * 8


@module
def test_workspace_is_told_without_a_device():
    from varpro import _cuda

    one, many = (_cuda.projector_workspace(problems=problems, n=2000, units=51) for problems in (1, 104))
    assert many == 104 * one  # how a problem is cut does not depend on its neighbours
    assert one > 8 * 3 * 51 * 51
    with pytest.raises(BackendError, match="projector: 65 basis functions; this kernel takes 1 to 64"):
        _cuda.projector_workspace(problems=1, n=10, units=65)


@module
@pytest.mark.skipif(shutil.which("ldd") is None, reason="ldd is not on PATH: linked libraries cannot be listed")
def test_the_module_links_no_cuda_library():
    spec = importlib.util.find_spec("varpro._cuda")
    listed = subprocess.run(["ldd", spec.origin], capture_output=True, text=True, check=True).stdout
    assert "libcu" not in listed
