"""Variable projection for separable models: what is linear is eliminated, only the rest is searched."""

from typing import TYPE_CHECKING

from varpro.errors import BackendError, ConfigError, DataError, OutputError, ShapeError, VarproError

if TYPE_CHECKING:
    from pathlib import Path

    from varpro.train.network import Network

__all__ = ["BackendError", "ConfigError", "DataError", "OutputError", "ShapeError", "VarproError", "load"]
__version__ = "0.1.0"


def load(path: "str | Path") -> "Network":
    """The network of a model.h5: `.predict(images)` gives labels (N,), `.scores(images)` outputs (N, K).

    images : (N, L, R) or (N, C, L, R), floats in [0, 1] or bytes.  Raises DataError.  Needs h5py.
    """
    from varpro.train.storage import load_network

    return load_network(path)
