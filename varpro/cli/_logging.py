"""The log of a run: what its display shows, and more, with dates, in a file or on stderr."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from varpro.errors import unwritable

FORM = "%(asctime)s %(levelname)-7s %(message)s"


@contextmanager
def logging_to(file: Path | None, level: str | None, *, first_rank: bool) -> Iterator[None]:
    """Log to a file, which is continued, or to stderr; not at all on other ranks, or if neither option is given.

    Raises OutputError if the file cannot be written.
    """
    if not first_rank or (file is None and level is None):
        yield
        return
    try:
        handler = logging.StreamHandler() if file is None else logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise unwritable(f"--log-file {file}", error, "name a file in a folder that can be written") from None
    handler.setFormatter(logging.Formatter(FORM))
    logger = logging.getLogger("varpro")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel((level or "info").upper())
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()
