"""A task can be handed out once more, and a run can end early in agreement of its ranks."""

from pathlib import Path

import pytest

from tests.mpi import run_mpi

RANKS = Path(__file__).with_name("pause_ranks.py")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_a_task_handed_out_again_goes_to_another_rank(ranks: int) -> None:
    assert run_mpi(ranks, RANKS, "handed_out_again").check().stdout == "again\n"


@pytest.mark.parametrize("ranks", [1, 3])
def test_any_rank_may_pause_and_all_leave_with_75_at_once(ranks: int) -> None:
    run = run_mpi(ranks, RANKS, "paused", runner=(), timeout=30)
    assert run.code == 75, run
    assert run.stderr.startswith("varpro-train: stopped by a test\n")
