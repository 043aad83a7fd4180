"""The output folder of a program, tested before anything long begins."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from varpro.distributed import Communicator
from varpro.errors import OutputError


@contextmanager
def output_folder(comm: Communicator, output: Path, *, overwrite: bool) -> Iterator[Path]:
    """The folder, made and tested by rank 0, whose error every rank raises; removed again if it stays empty."""
    error, new = None, not output.exists()
    if comm.rank == 0:
        try:
            prepare_output(output, overwrite=overwrite)
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


def prepare_output(output: Path, *, overwrite: bool) -> None:
    """Make the output folder, or raise OutputError if it is not empty or cannot be written."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"output {output} is a file, a folder is needed; choose another with --output")
    probe = output / f".varpro-{os.getpid()}"
    try:
        if not overwrite and output.is_dir() and any(output.iterdir()):
            raise OutputError(
                f"output folder {output} exists and is not empty; choose another with --output, or add --overwrite"
            )
        output.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise error if isinstance(error, OutputError) else unwritable(output, error) from None


def unwritable(output: Path, error: OSError) -> OutputError:
    """The error to raise for an error of the system."""
    reason = error.strerror or " ".join(str(error).split())
    return OutputError(f"output folder {output} cannot be written ({reason}); choose another with --output")
