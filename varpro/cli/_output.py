"""The output folder of a program, tested and locked before anything long begins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from varpro.distributed import Communicator
from varpro.errors import OutputError, unwritable
from varpro.train.checkpoint.lock import LEFT_OVER

ELSEWHERE = "choose another with --output"
STATUS = "status.json"
HOUSEKEEPING = ("run.lock", STATUS, "history.jsonl", "checkpoint")
"""What a training writes before it has results; a folder with nothing else may be used again by its continuation."""


@contextmanager
def output_folder(comm: Communicator, output: Path, *, overwrite: bool, resume: str = "") -> Iterator[Path]:
    """The folder, made and tested by rank 0, whose error every rank raises; removed again if it stays empty.

    resume : "yes" or "auto" to continue the run that it holds, empty to begin one.
    """
    error, new = None, not output.exists()
    if comm.rank == 0:
        try:
            prepare_output(output, overwrite=overwrite, resume=resume)
        except OutputError as caught:
            error = caught
    error = comm.bcast(error)
    if error is not None:
        raise error
    try:
        yield output
    finally:
        if comm.rank == 0 and new:
            with suppress(OSError):  # it holds results
                output.rmdir()


def prepare_output(output: Path, *, overwrite: bool, resume: str = "") -> None:
    """Make the output folder, or raise OutputError if it is not empty or cannot be written."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"output {output} is a file, a folder is needed; choose another with --output")
    probe = output / f".varpro-{os.getpid()}"
    try:
        held = sorted(path.name for path in output.iterdir()) if output.is_dir() else []
        _require_use(output, held, overwrite=overwrite, resume=resume)
        output.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(f"output folder {output}", error, ELSEWHERE) from None


def require_file(label: str, path: Path, *read: Path | None, overwrite: bool) -> None:
    """Raise OutputError if a file must not or cannot be written, before any work.

    label : how the message names it, such as "--c net.c".  read : files that are read, which stay as they are.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError(f"{label}: is a folder; name a file")
    if target.is_symlink():
        raise OutputError(f"{label}: is a link to itself; choose another file")
    if not target.parent.is_dir():
        raise OutputError(f"{label}: {target.parent} is no folder; make it, or choose another file")
    if not target.exists():
        return
    same = next((one for one in read if one is not None and one.exists() and target.samefile(one)), None)
    if same is not None:
        raise OutputError(f"{label}: is a file that is read ({same}); choose another file")
    if not overwrite:
        raise OutputError(f"{label}: exists; choose another file, or add --overwrite")


def _require_use(output: Path, held: list[str], *, overwrite: bool, resume: str) -> None:
    """Raise OutputError if a folder with these names in it must not be written, or does not hold a run to continue."""
    held = [name for name in held if not name.startswith(LEFT_OVER)]
    began = bool(held) and ("checkpoint" in held or STATUS in held or all(name in HOUSEKEEPING for name in held))
    if resume == "yes" and not began:
        raise OutputError(f"output folder {output} holds no run to continue; leave --resume out, or take --resume auto")
    if overwrite or not held or (resume and began):
        return
    remedy = "continue its run with --resume, or add --overwrite" if "checkpoint" in held else "or add --overwrite"
    raise OutputError(f"output folder {output} exists and is not empty; choose another with --output, {remedy}")
