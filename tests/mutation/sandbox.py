"""A copy of the repository in which faults are compiled and tested, and which is then deleted with its folder.

Tests run in a forked child, which has NumPy, SciPy and pytest loaded already and imports the package itself.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.covering import Recorder
from tests.mutation.mutant import Mutant

KILLED, SURVIVED, TIMEOUT, INVALID = "killed", "survived", "timeout", "invalid"
TESTS_FAILED, NOTHING_FAILED = 1, 0
LONGEST = 3600.0
"""Seconds: a run of tests, or of the compiler, that takes longer has failed."""


def copy_tree(root: Path, target: Path) -> None:
    """Every file that git knows or would add, and the compiled extensions."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=root, check=True, capture_output=True
    ).stdout.decode()
    names = [name for name in listed.split("\0") if name and (root / name).is_file()]
    for name in [*names, *(str(p.relative_to(root)) for p in (root / "varpro").glob("_cpu*.so"))]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)


class Sandbox:
    """A copy at `place`."""

    def __init__(self, root: Path, place: Path) -> None:
        self.place, self.build = place, place / "build-mutants"
        copy_tree(root, place)

    def try_mutant(self, mutant: Mutant, tests: Sequence[str], seconds: float) -> str:
        """killed, survived, timeout, or invalid where it is no program; the copy is as before afterwards."""
        file = self.place / mutant.path
        before = file.read_bytes()
        try:
            mutant.write(self.place)
            if file.suffix == ".py":
                try:
                    compile(file.read_bytes(), mutant.path, "exec")
                except SyntaxError:
                    return INVALID
            elif not self.compile():
                return INVALID
            return self.test(tests, seconds)[0]
        finally:
            file.write_bytes(before)

    def record(self, tests: Sequence[str], traced: Sequence[str], file: Path) -> str:
        """Run all tests as they are, write into `file` which of them enters which function; returns what they print."""
        return self.test(tests, LONGEST, Recorder(self.place, traced), file)[1]

    def test(
        self, tests: Sequence[str], seconds: float, recorder: Recorder | None = None, file: Path | None = None
    ) -> tuple[str, str]:
        """What the tests say, and what they print."""
        log = self.place / "tests.log"
        child = os.fork()
        if child == 0:
            self._run_tests(tests, log, recorder, file)
        code = _wait(child, time.monotonic() + seconds)
        if code is None:
            return TIMEOUT, log.read_text(errors="replace")
        return SURVIVED if code == NOTHING_FAILED else KILLED, log.read_text(errors="replace")

    def _run_tests(self, tests: Sequence[str], log: Path, recorder: Recorder | None, file: Path | None) -> None:
        """In the child; never returns."""
        code = 3
        try:
            os.setsid()  # its own children end with it
            os.chdir(self.place)
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.environ["PYTHONPATH"] = str(self.place)
            os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(self.place / ".hypothesis")
            sys.dont_write_bytecode = True
            for name in [name for name in sys.modules if name.split(".")[0] in ("varpro", "tests")]:
                del sys.modules[name]
            sys.path[:] = [str(self.place), *(p for p in sys.path if p not in ("", str(self.place)))]
            import pytest

            options = ["-q", "-p", "no:cacheprovider", "--no-header", *([] if recorder else ["-x"])]
            code = int(pytest.main([*options, *tests], plugins=[recorder] if recorder else []))
            if recorder and file:
                recorder.write(file)
        except BaseException as error:  # whatever it is: the mutant did it, and it was noticed
            print(repr(error), flush=True)
        finally:
            os._exit(code)

    def compile(self) -> bool:
        """Build the extension with what has changed; False where the compiler refuses."""
        if not self.build.exists():
            import pybind11

            configure = ["cmake", "-S", str(self.place), "-B", str(self.build), "-DVARPRO_CUDA=OFF",
                         f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
                         f"-DCMAKE_INSTALL_PREFIX={self.place / 'varpro'}", *_generator()]  # fmt: skip
            subprocess.run(configure, check=True, capture_output=True)
        made = subprocess.run(["cmake", "--build", str(self.build)], capture_output=True, check=False, timeout=LONGEST)
        if made.returncode:
            return False
        built = next(self.build.glob("_cpu*.so"))
        replaced = self.place / "varpro" / f"{built.name}.new"
        shutil.copy2(built, replaced)
        replaced.rename(self.place / "varpro" / built.name)  # never written over: it may be mapped
        return True


def _generator() -> list[str]:
    return ["-G", "Ninja"] if shutil.which("ninja") else []


def _wait(child: int, until: float) -> int | None:
    """The exit code of a child; None if it had to be ended."""
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
