"""Variable projection for separable models: what is linear is eliminated, only the rest is searched."""

from typing import TYPE_CHECKING

from varpro import models
from varpro.dmd import dmd
from varpro.errors import BackendError, ConfigError, DataError, OutputError, ShapeError, VarproError
from varpro.fitting.api import fit, fit_batch
from varpro.fitting.check_derivative import check_derivative
from varpro.fitting.functional import functional
from varpro.result import Status

if TYPE_CHECKING:
    from pathlib import Path

    from varpro.train.model_file import TrainedModel

__all__ = [
    "BackendError",
    "ConfigError",
    "DataError",
    "OutputError",
    "ShapeError",
    "Status",
    "VarproError",
    "check_derivative",
    "dmd",
    "fit",
    "fit_batch",
    "functional",
    "load",
    "models",
]
__version__ = "0.1.0"


def load(path: "str | Path") -> "TrainedModel":
    """The network of a model.h5: `.predict(images)` gives labels (N,), `.scores(images)` outputs (N, K).

    images : (N, L, R) or (N, C, L, R), floats in [0, 1] or bytes.  Raises DataError.  Needs h5py,
    and PyTorch for a network that was trained with it.
    """
    from varpro.train.storage import load_model

    return load_model(path)
