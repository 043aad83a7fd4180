"""Build the compiled kernels with CMake; everything else stands in pyproject.toml."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def _generator(work: Path) -> list[str]:
    """Ninja where it is found: pyproject.toml brings it, make may be missing.  A folder keeps what it began with, but
    not the path: the Ninja of an isolated build is gone when the next one begins."""
    cache, ninja = work / "CMakeCache.txt", shutil.which("ninja")
    begun = cache.exists()
    if begun and "CMAKE_GENERATOR:INTERNAL=Ninja\n" not in cache.read_text():
        return []
    if ninja is None:
        cache.unlink(missing_ok=True)  # begins anew with another generator
        shutil.rmtree(work / "CMakeFiles", ignore_errors=True)
        return []
    chosen = [] if begun or "CMAKE_GENERATOR" in os.environ else ["-G", "Ninja"]
    return [*chosen, f"-DCMAKE_MAKE_PROGRAM={ninja}"] if begun or chosen else []


class CMakeBuild(build_ext):
    """One CMake run makes every extension module, beside the package or in the wheel."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        # the same place for an editable install, whose build_temp is thrown away, and for a wheel: what the one has
        # compiled the other need not compile again
        work = ROOT / "build" / f"cmake-{sys.implementation.cache_tag}"
        work.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake",
            "-S",
            str(ROOT),
            "-B",
            str(work),
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DCMAKE_INSTALL_PREFIX={target}",
            f"-DVARPRO_CUDA={os.environ.get('VARPRO_CUDA', 'AUTO').upper()}",
            *_generator(work),
            *shlex.split(os.environ.get("CMAKE_ARGS", "")),
        ]
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL", str(len(os.sched_getaffinity(0))))
        try:
            subprocess.run(configure, check=True)
            subprocess.run(["cmake", "--build", str(work), "--parallel", jobs], check=True)
            subprocess.run(["cmake", "--install", str(work)], check=True)
        except FileNotFoundError as error:
            raise SystemExit(
                "varpro: cmake was not found; `pip install cmake ninja` or install it with the system"
            ) from error
        except subprocess.CalledProcessError as error:
            raise SystemExit(
                "varpro: the kernels did not compile (see above); a C++20 compiler is needed, g++ >= 11, "
                "and nvcc where VARPRO_CUDA=ON"
            ) from error

    def copy_extensions_to_source(self) -> None:
        """An editable install takes along varpro._cuda where it was built, and drops one of an earlier build."""
        super().copy_extensions_to_source()
        package = ROOT / "varpro"
        for stale in package.glob("_cuda*.so"):
            stale.unlink()
        for built in Path(self.build_lib, "varpro").glob("_cuda*.so"):
            shutil.copy2(built, package)


setup(ext_modules=[Extension("varpro._cpu", sources=[])], cmdclass={"build_ext": CMakeBuild})
