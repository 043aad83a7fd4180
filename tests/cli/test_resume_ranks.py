"""Runs on several ranks that are stopped or lose a rank go on, on as many ranks or others, to the same bytes."""

import pytest

from tests.cli.test_resume import RUN as PLAIN
from tests.cli.test_resume import model
from tests.mpi import run_mpi
from varpro.cli import train

RUN = [*PLAIN, "--set", "bootstrap=paper"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert train.main([*RUN, "--output", str(folder)]) == 0
    return folder


def test_three_ranks_continue_what_two_began(tmp_path, undisturbed):
    script = tmp_path / "begin.py"
    script.write_text(
        "import os, signal, sys\n"
        "from varpro.cli import train\n"
        "from varpro.train.checkpoint import states\n"
        "save = states.Kept.save\n"
        "def counted(self, name, state):\n"
        "    save(self, name, state)\n"
        "    if self.comm.rank == 0 and name == sys.argv[1]:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "states.Kept.save, states.SHARE = counted, 0\n"
        "sys.exit(train.main(sys.argv[2:]))\n"
    )
    folder = tmp_path / "run"
    for ranks, name, code in ((2, "training-subnetwork-1", 75), (3, "training-glue-sums", 75), (2, "none", 0)):
        ended = run_mpi(
            ranks, script, name, *RUN, "--output", folder, "--resume", "auto", runner=("-m", "mpi4py"), timeout=200
        )
        assert ended.code == code, ended
    assert model(folder) == model(undisturbed)


def test_a_rank_that_is_killed_costs_its_unfinished_work_only(tmp_path, undisturbed):
    script = tmp_path / "die.py"
    script.write_text(
        "import os, signal, sys\n"
        "from varpro.cli import train\n"
        "from varpro.train.scalarized.attempts import Attempts\n"
        "work = Attempts.work\n"
        "def dying(self, number):\n"
        "    if self.comm.rank == 1 and self.name == 'bootstrapping':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return work(self, number)\n"
        "Attempts.work = dying\n"
        "sys.exit(train.main(sys.argv[1:]))\n"
    )
    folder = tmp_path / "run"
    ended = run_mpi(2, script, *RUN, "--output", folder, runner=("-m", "mpi4py"), timeout=200)
    assert ended.code != 0
    assert (folder / "checkpoint" / "training-glue.ckpt").is_file()
    assert train.main([*RUN, "--output", str(folder), "--resume"]) == 0
    assert model(folder) == model(undisturbed)
