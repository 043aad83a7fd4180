"""However a rank ends, the whole run ends, with that rank's exit code and its message once."""

import re
from pathlib import Path

import pytest

from tests.mpi import run_mpi
from varpro.cli import _guard
from varpro.distributed import Communicator, SerialCommunicator
from varpro.errors import ConfigError

RANKS = Path(__file__).with_name("ranks.py")
TRUNCATED = "varpro-train: error: train-images-idx3-ubyte.gz is truncated: fetch it again\n"


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_error_on_all_ranks_is_printed_once(ranks: int) -> None:
    run = run_mpi(ranks, RANKS, "all_fail", runner=())
    assert run.code == 2
    assert run.errors == "varpro-train: error: unknown key 'sead': did you mean 'seed'?\n"


@pytest.mark.parametrize("ranks", [2, 3])
def test_error_on_one_rank_takes_waiting_ranks_along(ranks: int) -> None:
    run = run_mpi(ranks, RANKS, "last_fails", runner=())
    assert (run.code, run.stdout, run.errors) == (2, "", TRUNCATED)


def test_error_on_one_rank_ends_computing_ranks() -> None:
    run = run_mpi(3, RANKS, "last_fails_while_others_compute", runner=(), timeout=30)
    assert run.code == 2
    assert run.stderr.count(TRUNCATED) == 1


@pytest.mark.parametrize("environment", [{}, {"WITHOUT_GUARD": "1"}])
def test_bug_on_one_rank_shows_its_traceback(environment: dict[str, str]) -> None:
    run = run_mpi(3, RANKS, "last_raises", runner=(), environment=environment, timeout=30)
    assert run.code == 1
    assert "ZeroDivisionError: a bug on the last rank" in run.stderr
    assert run.stderr.count("Traceback") == 1
    assert ("rank 2 of 3 failed" in run.stderr) == (not environment)


def test_exit_on_one_rank_ends_all() -> None:
    run = run_mpi(3, RANKS, "last_exits", runner=(), timeout=30)
    assert (run.code, run.stdout) == (3, "")


def test_error_of_rank_zero_after_the_others_are_done() -> None:
    run = run_mpi(3, RANKS, "rank_zero_fails_at_the_end", runner=())
    assert (run.code, run.stdout, run.errors) == (2, "", "varpro-train: error: the disk is full: free some space\n")


def test_rank_that_returns_early_is_an_error_and_no_hang() -> None:
    run = run_mpi(3, RANKS, "last_returns_early", runner=(), timeout=30)
    assert run.code == 1
    assert "different collective calls" in run.stderr


def test_killed_rank_ends_the_run() -> None:
    run = run_mpi(3, RANKS, "last_is_killed", runner=(), timeout=30)
    assert run.code != 0
    assert "not reached" not in run.stdout


@pytest.mark.parametrize("ranks", [1, 2])
def test_interrupt_is_a_line_and_no_traceback(ranks: int) -> None:
    run = run_mpi(ranks, RANKS, "interrupted", runner=(), timeout=30)
    assert run.code == 130
    assert run.stderr.count("varpro-train: interrupted") == 1
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("ranks", [1, 2])
def test_wrong_option_and_help_are_answered_once(ranks: int) -> None:
    run = run_mpi(ranks, RANKS, "wrong_options", "--sead", "3", runner=())
    assert run.code == 2
    assert re.fullmatch(r"varpro-train: error: .*--sead.*; see `varpro-train --help`\n", run.errors)
    helped = run_mpi(ranks, RANKS, "wrong_options", "--help", runner=()).check()
    assert helped.stdout.count("usage: varpro-train") == 1


def test_exit_codes_of_one_rank(capsys: pytest.CaptureFixture[str]) -> None:
    def outcome(error: BaseException | None, code: int = 0) -> int:
        def main(comm: Communicator) -> int:
            if error is not None:
                raise error
            return code

        return _guard.run("varpro-train", main, SerialCommunicator())

    assert outcome(None) == 0
    assert outcome(None, 5) == 5
    assert outcome(SystemExit(None)) == 0
    assert outcome(SystemExit(4)) == 4
    assert outcome(SystemExit("said so")) == 1
    assert capsys.readouterr().err == "said so\n"
    assert outcome(ConfigError("units = 0\nmust be at least 1")) == 2
    assert capsys.readouterr().err == "varpro-train: error: units = 0 must be at least 1\n"
    with pytest.raises(SystemExit) as ended:
        outcome(RuntimeError("a bug"))
    assert ended.value.code == 1
    assert "RuntimeError: a bug" in capsys.readouterr().err
