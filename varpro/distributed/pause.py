"""How a run ends before its end, to be continued: every rank leaves with the same exit code."""

PAUSED = 75
"""The exit code of a run that can be continued: EX_TEMPFAIL of sysexits.h, no error to a batch script."""


class Paused(SystemExit):
    """Raised on every rank at the same point, with the same words; the lowest rank prints them."""

    def __init__(self, words: str) -> None:
        super().__init__(PAUSED)
        self.words = words
