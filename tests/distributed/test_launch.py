"""What happens before MPI: no launcher, a launcher without mpi4py, a launcher of another MPI."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mpi import run_mpi, run_with_timeout
from varpro.distributed.launch import UNKNOWN_SIZE, launched_rank, launched_size

RANKS = Path(__file__).with_name("ranks.py")


@pytest.fixture
def without_mpi4py(tmp_path: Path) -> dict[str, str]:
    """An environment in which `import mpi4py` fails as on a machine without it."""
    (tmp_path / "mpi4py.py").write_text("raise ModuleNotFoundError(\"No module named 'mpi4py'\")\n")
    return {"PYTHONPATH": f"{tmp_path}:{RANKS.parents[2]}"}


@pytest.mark.parametrize(
    ("environment", "size", "rank"),
    [
        ({}, 1, 0),
        ({"PMI_SIZE": "8", "PMI_RANK": "3"}, 8, 3),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1"}, 4, 1),
        ({"SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "5"}, 16, 5),
        ({"SLURM_NTASKS": "16", "SLURM_PROCID": "0"}, 1, 0),  # the batch script itself
        ({"SLURM_STEP_NUM_TASKS": "1", "PMI_SIZE": "4", "PMI_RANK": "2"}, 4, 2),  # mpirun inside srun
        ({"PMIX_RANK": "2"}, UNKNOWN_SIZE, 2),
        ({"PMI_SIZE": ""}, 1, 0),
    ],
)
def test_launcher_is_read_from_the_environment(environment: dict[str, str], size: int, rank: int) -> None:
    assert (launched_size(environment), launched_rank(environment)) == (size, rank)


def test_importing_the_package_does_not_import_mpi4py() -> None:
    code = "import sys, varpro, varpro.distributed, varpro.cli._guard; print('mpi4py' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout == "False\n"


def test_runs_serially_without_mpi4py(without_mpi4py: dict[str, str]) -> None:
    run = run_with_timeout([sys.executable, str(RANKS), "queue"], environment=without_mpi4py)
    assert run.check().stdout == "queue on 1\n"


def test_several_processes_without_mpi4py_are_an_error(without_mpi4py: dict[str, str]) -> None:
    run = run_mpi(2, RANKS, "queue", runner=(), environment=without_mpi4py)
    assert run.code == 2
    assert run.stderr.startswith("varpro-train: error: the launcher started 2 processes, but mpi4py does not load")
    assert "pip install varpro[mpi]" in run.stderr
    assert run.errors.count("\n") == 1


def test_launcher_of_another_mpi_is_an_error() -> None:
    # What a process sees under a launcher that its MPI library does not understand.
    environment = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}
    run = run_with_timeout([sys.executable, str(RANKS), "queue"], environment=environment)
    assert run.code == 2
    assert "started 2 processes, but MPI sees only one" in run.stderr
