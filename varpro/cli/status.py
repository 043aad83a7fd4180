"""varpro-status: how a run in some output folder is doing, seen from another shell."""

from pathlib import Path

from varpro.cli._program import Add, Program


def _arguments(add: Add) -> None:
    add("output", type=Path, help="the output folder of a varpro-train")
    add("--json", action="store_true", help="print status.json, with the state as seen from here")


main = Program(
    "varpro-status",
    "The state of a run: exit code 0 if it has finished, 3 if it runs, 75 if it can be continued, 1 if it failed.",
    _arguments,
    "varpro.cli._status",
    modules=("yaml", "pydantic"),
    first_rank_only=True,
).main

if __name__ == "__main__":
    raise SystemExit(main())
