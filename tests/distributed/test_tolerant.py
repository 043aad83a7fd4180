"""Where the MPI tolerates faults, the ranks that outlive another finish the run, to the same bytes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_resume import RUN, model
from tests.mpi import find_mpirun, run_with_timeout
from varpro.cli import train
from varpro.distributed import SerialCommunicator
from varpro.distributed.communicator import RankLost

DYING = """
import os, signal, sys
import varpro.report.outputs, varpro.train.scalarized.trainer
from varpro.cli import train
from varpro.distributed import world
from varpro.train.checkpoint import Kept
from varpro.train.scalarized.attempts import Attempts

varpro.report.outputs.draw_scalarized = lambda record: {}
varpro.train.scalarized.trainer.measured_gemm_gflops = lambda dtype: 1.0
victim, place = int(sys.argv[1]), sys.argv[2]
work, moment = Attempts.work, Kept.moment

def end(comm, here):
    if here == place and world().rank == victim and not comm.lost:
        os.kill(os.getpid(), signal.SIGKILL)

def dying_work(self, number):
    end(self.comm, self.name)
    return work(self, number)

def dying_moment(self, name, size, make):
    end(self.comm, name)
    return moment(self, name, size, make)

Attempts.work, Kept.moment = dying_work, dying_moment
sys.exit(train.main(sys.argv[3:]))
"""


def launcher():
    """mpirun that lets ranks outlive others; skips where the MPI has no such thing."""
    mpirun = find_mpirun()
    told = subprocess.run([mpirun, "--with-ft", "ulfm", "--version"], capture_output=True, text=True, check=False)
    if "Open MPI" not in told.stdout or " 4." in told.stdout:
        pytest.skip("no fault tolerance in this MPI: Open MPI 5 and later have it")
    return [mpirun, "--with-ft", "ulfm", "-n", "3", sys.executable]


@pytest.mark.parametrize(("victim", "place"), [(1, "training"), (0, "training-refinement"), (2, "training-glue-sums")])
def test_the_others_carry_on_to_the_same_model(tmp_path, victim, place):
    start = launcher()
    (tmp_path / "dying.py").write_text(DYING)
    run = [*RUN, "--output", str(tmp_path / "run")]
    tree = {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = run_with_timeout(
        [*start, str(tmp_path / "dying.py"), str(victim), place, *run], environment=tree, timeout=300
    )
    assert ended.code == 0, ended
    assert "varpro-train: a rank has ended without a word; 2 go on from what was kept" in ended.stderr
    assert train.main([*RUN, "--output", str(tmp_path / "alone")]) == 0
    assert model(tmp_path / "run") == model(tmp_path / "alone")


def test_a_program_that_cannot_go_on_is_ended(capsys):
    from varpro.cli import _guard

    def main(comm):
        raise RankLost(SerialCommunicator)

    with pytest.raises(SystemExit) as ended:
        _guard.run("varpro-fit", main, SerialCommunicator())
    assert ended.value.code == 1
    assert "varpro-fit: a rank has ended without a word" in capsys.readouterr().err


def test_a_program_that_can_is_called_again_with_the_survivors(capsys):
    from varpro.cli import _guard

    left = SerialCommunicator()
    left.lost = 2

    def main(comm):
        if not comm.lost:
            raise RankLost(lambda: left)
        return 0 if comm is left else 1

    assert _guard.run("varpro-train", main, SerialCommunicator(), survives=True) == 0
    assert capsys.readouterr().err == (
        "varpro-train: 2 ranks have ended without a word; 1 goes on from what was kept\n"
    )
