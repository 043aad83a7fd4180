"""The processes of kills.py: runs on one rank as forks, on more under mpirun, found again by a mark.

Both train without the plots and without measuring the machine, which would take most of the time and be killed most.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported: forks need it

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import varpro.cli._train_job  # all that a run imports, before it is forked
import varpro.cli.train
import varpro.report.outputs
import varpro.train.scalarized.trainer

HANG_SECONDS = 600.0
"""What hangs does so for ever; on a busy machine, a run on three ranks has taken two minutes."""
MARK = "VARPRO_KILLS_TRIAL"
CONFIG = [
    "digits",
    "subnetworks=8",
    "units=5",
    "samples=150",
    "search.iterations=4",
    "refine.iterations=4",
    "refine.first_rows=300",
    "glue.block_rows=100",
    "reproducible=true",
]


def arguments_of(output: Path) -> list[str]:
    """The arguments that begin or continue a run."""
    name, *settings = CONFIG
    overrides = [part for setting in settings for part in ("--set", setting)]
    return [name, *overrides, "--output", str(output), "--resume", "auto", "--quiet"]


def train(arguments: Sequence[str]) -> int:
    """varpro-train without plots; the exit code."""
    varpro.report.outputs.draw_scalarized = lambda record: {}
    varpro.train.scalarized.trainer.measured_gemm_gflops = lambda dtype: 1.0
    return varpro.cli.train.main(arguments)


class Forked:
    """A run on one rank in a fork of this process, with what of Popen is needed."""

    def __init__(self, output: Path) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._run(output)

    def _run(self, output: Path) -> None:
        os.setsid()
        log = os.open(output.parent / f"{output.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            code = train(arguments_of(output))
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 1
        finally:
            os._exit(code)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self) -> int:
        """The exit code when it has ended."""
        while self.poll() is None:
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode


Process = subprocess.Popen[bytes] | Forked


def launcher() -> str:
    """The launcher beside this interpreter, else the one on PATH."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if beside.exists() else str(shutil.which("mpirun"))


def start(ranks: int, output: Path, mark: str) -> Process:
    """A process group of its own, whose processes all carry a mark in their environment."""
    if ranks == 1:
        return Forked(output)
    openmpi = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    log = (output.parent / f"{output.name}.log").open("ab")
    return subprocess.Popen(
        [launcher(), "-n", str(ranks), sys.executable, __file__, *arguments_of(output)],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **openmpi, MARK: mark, "PYTHONPATH": str(Path(__file__).parents[1])},
        start_new_session=True,
    )


def marked(mark: str) -> dict[int, str]:
    """The processes of a trial: number, and rank or launcher."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "environ").read_bytes().split(b"\0")
            if (
                f"{MARK}={mark}".encode() not in text
                or (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            ):
                continue
            names = dict(part.split(b"=", 1) for part in text if b"=" in part)
            python = Path(__file__).name.encode() in (folder / "cmdline").read_bytes()
        except OSError:
            continue
        rank = names.get(b"PMI_RANK") or names.get(b"OMPI_COMM_WORLD_RANK") or b""
        if python and rank:
            found[int(folder.name)] = f"rank {rank.decode()}"
    return found


def ended(process: Process, mark: str, limit: float) -> bool:
    """Wait until the launcher and all its ranks are gone; False if they are not in time."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit:
        if process.poll() is not None and (isinstance(process, Forked) or not marked(mark)):
            return True
        time.sleep(0.02)
    return False


def put_down(process: Process, mark: str) -> None:
    """Kill what hangs: this trial's own processes."""
    os.killpg(process.pid, signal.SIGKILL)
    for pid in marked(mark):
        os.kill(pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(train(sys.argv[1:]))
