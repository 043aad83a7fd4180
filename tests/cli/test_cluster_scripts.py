"""The batch scripts of docs/cluster.md, run under a stub scheduler: what they start, and when they come again."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from varpro.cli._program import job_arguments
from varpro.cli.train import _arguments

PAGE = Path(__file__).parents[2] / "docs" / "cluster.md"
SCRIPTS = {
    re.search(r"#(SBATCH|PBS)", text).group(1): text
    for text in re.findall(r"```bash\n(#!/bin/bash\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
}


@pytest.fixture(params=["SBATCH", "PBS"])
def script(request, tmp_path):
    """A function that runs the script while the program exits with some code, and gives the calls it made."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    (tmp_path / "env" / "bin" / "activate").write_text("")
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for name in ("module", "scontrol", "qsub", "srun", "mpirun"):
        launches = name in ("srun", "mpirun")
        (stubs / name).write_text(f'#!/bin/bash\necho "{name} $*" >> calls\nexit {"$CODE" if launches else 0}\n')
        (stubs / name).chmod(0o755)

    def run(code):
        environment = {
            "PATH": f"{stubs}:{os.environ['PATH']}", "CODE": str(code), "SCRATCH": str(tmp_path),
            "SLURM_JOB_ID": "4711", "SLURM_CPUS_PER_TASK": "4", "PBS_O_WORKDIR": str(tmp_path),
        }  # fmt: skip
        (tmp_path / "calls").write_text("")
        subprocess.run(["bash", "-c", SCRIPTS[request.param]], env=environment, cwd=tmp_path, check=True, timeout=20)
        return (tmp_path / "calls").read_text().splitlines()

    return run


def test_a_run_that_was_paused_is_queued_again_and_others_are_not(script):
    again = ("scontrol requeue 4711", "qsub mnist.pbs")
    assert script(75)[-1] in again
    for code in (0, 1, 2):
        assert script(code)[-1] not in again


def test_the_program_is_started_with_options_that_it_has(script):
    known = []
    add = lambda *names, **_: known.extend(names)  # noqa: E731
    _arguments(add)
    job_arguments(add, shown="")
    launch = next(call for call in script(0) if "varpro-train" in call)
    _, _, options = launch.partition("varpro-train")
    assert "--resume auto" in options
    assert set(re.findall(r"--[\w-]+", options)) <= set(known)
