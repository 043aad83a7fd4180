"""What a caller did wrong: each error gives the value, the limit and the remedy in one line.

Numerical trouble is never an exception: it is a named status in the result.
"""

import errno
from numbers import Integral


class VarproError(Exception):
    """Base of every error that a caller can correct; the programs print it as one line and exit with 2."""


class ShapeError(VarproError, ValueError):
    """Arrays whose shapes or dtypes do not fit together."""


class ConfigError(VarproError, ValueError):
    """An unknown key, a value of the wrong type or range, or a partition that cannot be made."""


class DataError(VarproError, ValueError):
    """A data file that is missing, damaged or holds values that cannot be used for training."""


class OutputError(VarproError, OSError):
    """An output folder that cannot be written or must not be overwritten."""


class TrainingError(VarproError, RuntimeError):
    """A run that cannot go on because too many of its parts have failed."""


class BackendError(VarproError, RuntimeError):
    """A device or library that was requested and is not available."""


class NonFiniteError(VarproError, ValueError):
    """NaN or infinity in an argument, or numbers so large that their squares are infinite."""


class DegenerateBatchError(VarproError, ValueError):
    """A batch on which an objective is not defined; the message names N, D, C and what to change."""


def at_least(name: str, value: object, least: int) -> None:
    """Raise ConfigError unless value is an integer, Python's or NumPy's, of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConfigError(f"{name} is {value!r}; it must be an integer of at least {least}")


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


def unwritable(what: str, error: OSError, elsewhere: str = "", *, resume: str = "") -> OutputError:
    """The error to raise for an error of the system: what cannot be written, why, and what helps.

    elsewhere : how to choose another place, such as "choose another with --output".
    resume : how to go on from what was kept once the cause is mended, such as "continue with --resume".
    """
    if isinstance(error, OutputError):
        return error
    full, gone = error.errno in FULL, error.errno in GONE
    if resume and gone:
        remedy = f"it has been moved or removed: put it back and {resume}, or begin again"
    elif resume:
        remedy = f"what was kept is intact: {'make room' if full else 'see to it'}, and {resume}"
    else:
        remedy = f"make room, or {elsewhere}" if full else elsewhere
    return OutputError(f"{what} cannot be written ({error.strerror or ' '.join(str(error).split())}); {remedy}")
