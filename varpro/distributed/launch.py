"""Whether an MPI launcher started this process, and with how many others, read from the environment without MPI."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# MPI launchers come before schedulers: `mpirun` inside a one-task srun shell is a parallel run.
SIZE_VARIABLES = (
    "OMPI_COMM_WORLD_SIZE",  # Open MPI
    "PMI_SIZE",  # MPICH, Intel MPI, MVAPICH, srun --mpi=pmi2
    "MV2_COMM_WORLD_SIZE",  # MVAPICH2's mpirun_rsh
    "PALS_SIZE",  # HPE Cray
    "JSM_NAMESPACE_SIZE",  # IBM jsrun
    "FLUX_JOB_SIZE",
    "SLURM_STEP_NUM_TASKS",  # srun; unlike SLURM_NTASKS it is absent from the batch script itself
)
RANK_VARIABLES = (
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "PALS_RANKID",
    "JSM_NAMESPACE_RANK",
    "FLUX_TASK_RANK",
    "PMIX_RANK",
    "SLURM_PROCID",
)
LAUNCHERS = ("mpirun", "mpiexec", "mpiexec.hydra", "orterun", "prterun")
UNKNOWN_SIZE = 0


def _first_integer(names: tuple[str, ...], environment: Mapping[str, str]) -> int | None:
    found = (environment.get(name, "") for name in names)
    return next((int(value) for value in found if value.isdigit()), None)


def launched_size(environment: Mapping[str, str] = os.environ) -> int:
    """The number of processes the launcher started: 1 without a launcher, UNKNOWN_SIZE if it does not say."""
    size = _first_integer(SIZE_VARIABLES, environment)
    if size is not None:
        return size
    return UNKNOWN_SIZE if "PMIX_RANK" in environment else 1


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """The launcher's number for this process; 0 without a launcher."""
    return _first_integer(RANK_VARIABLES, environment) or 0


def own_launcher(proc: Path = Path("/proc")) -> int | None:
    """The process of the launcher, if this process descends from it: that nearest to the root; None if there is none
    or the system does not tell."""
    found, pid = None, os.getppid()
    with suppress(OSError, ValueError, IndexError):
        while pid > 1:
            program = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            found = pid if Path(program).name in LAUNCHERS else found
            pid = int((proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return found


def end_launcher_later(seconds: float) -> None:
    """Terminate this run's launcher if it is still there after so many seconds; returns at once.

    A launcher that has lost a machine waits for it even when all processes that it can reach have ended.
    """
    pid = own_launcher()
    if pid is None:
        return
    script = f"sleep {seconds:g}; kill -TERM {pid} && sleep {seconds:g} && kill -KILL {pid}"
    nowhere = subprocess.DEVNULL  # or the launcher would wait for the end of our output
    with suppress(OSError):
        subprocess.Popen(
            ["/bin/sh", "-c", script], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
