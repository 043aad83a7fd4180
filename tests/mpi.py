"""Runs a program on several ranks with a time limit, so that a hang fails the test instead of blocking it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Run:
    """What an ended program left: exit code of the launcher and all ranks' output."""

    code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> str:
        """stderr of the ranks: without the boxes and event warnings that Open MPI's launcher adds."""
        return re.sub(r"(?ms)^-{70,}\n.*?^-{70,}\n|^\[(?:warn|[\w.-]+:\d+)\] (?:Epoll|PMIX)[^\n]*\n", "", self.stderr)

    def check(self) -> "Run":
        """Itself if the exit code is 0; otherwise an AssertionError with all output."""
        assert self.code == 0, f"exit code {self.code}\n{self.stdout}\n{self.stderr}"
        return self


def run_mpi(
    ranks: int,
    *arguments: str | Path,
    runner: tuple[str, ...] = ("-m", "mpi4py"),
    environment: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    cwd: Path | None = None,
) -> Run:
    """`mpirun -n RANKS python -m mpi4py ARGUMENTS`: a script's path or ("-m", module), then its arguments.

    runner : pass () to start plain `python`, as the installed programs do.
    One BLAS thread per rank.  After `timeout` seconds the launcher and all ranks are killed and the test fails.
    """
    command = [find_mpirun(), "-n", str(ranks), sys.executable, *runner, *map(str, arguments)]
    return run_with_timeout(command, environment=environment, timeout=timeout, cwd=cwd)


def run_with_timeout(
    command: list[str],
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    cwd: Path | None = None,
) -> Run:
    """A program in a process group of its own, killed as a whole after `timeout` seconds."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **_one_thread_each(), **_openmpi_for_tests(), **(environment or {})},
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        pytest.fail(f"killed after {timeout} s: {' '.join(command)}\n{stdout}\n{stderr}")
    return Run(process.returncode, stdout, stderr)


def find_mpirun() -> str:
    """The launcher beside this interpreter, else the one on PATH; skips the test where neither exists."""
    beside = Path(sys.executable).parent / "mpirun"
    launcher = str(beside) if beside.exists() else shutil.which("mpirun")
    if launcher is None:
        pytest.skip("no mpirun on this machine: pip install varpro[mpi]")
    return launcher


def _one_thread_each() -> dict[str, str]:
    return {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _openmpi_for_tests() -> dict[str, str]:
    """More ranks than cores, and root in containers: Open MPI wants to be asked; other libraries ignore this."""
    return {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
