"""Variable projection for separable models: what is linear is eliminated, only the rest is searched."""

from varpro.errors import BackendError, ConfigError, DataError, OutputError, ShapeError, VarproError

__all__ = ["BackendError", "ConfigError", "DataError", "OutputError", "ShapeError", "VarproError"]
__version__ = "0.1.0"
