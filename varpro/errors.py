"""What a caller did wrong: each error gives the value, the limit and the remedy in one line.

Numerical trouble is never an exception: it is a named status in the result.
"""

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
