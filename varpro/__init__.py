"""Variable projection for separable models: linear parameters are eliminated, only the others are searched."""

from importlib import import_module
from typing import TYPE_CHECKING

from varpro.errors import BackendError, ConfigError, DataError, OutputError, ShapeError, VarproError

if TYPE_CHECKING:
    from pathlib import Path

    from varpro import losses, models
    from varpro.fitting.api import fit, fit_batch
    from varpro.fitting.batch import BatchResult
    from varpro.fitting.bootstrap import Bootstrap
    from varpro.fitting.check_derivative import check_derivative
    from varpro.fitting.comparison import Comparison, compare
    from varpro.fitting.dmd import dmd
    from varpro.fitting.dmd_result import DmdResult
    from varpro.fitting.functional import Functional, functional
    from varpro.fitting.joint import fit_global
    from varpro.fitting.joint_result import GlobalFitResult, SetResult
    from varpro.fitting.posterior import Posterior
    from varpro.fitting.profile import Profile
    from varpro.fitting.result import FitResult
    from varpro.result import Status
    from varpro.train.model_file import TrainedModel

__all__ = [
    "BackendError",
    "BatchResult",
    "Bootstrap",
    "Comparison",
    "ConfigError",
    "DataError",
    "DmdResult",
    "FitResult",
    "Functional",
    "GlobalFitResult",
    "OutputError",
    "Posterior",
    "Profile",
    "SetResult",
    "ShapeError",
    "Status",
    "VarproError",
    "check_derivative",
    "compare",
    "dmd",
    "fit",
    "fit_batch",
    "fit_global",
    "functional",
    "load",
    "losses",
    "models",
]
__version__ = "0.2.0.dev0"

# Loading scipy takes several times as long as everything else, and `varpro-train --help` needs none of it, so these
# names are imported on first use.  tests/test_import.py compares the table with the imports above.
_HOMES = {
    "BatchResult": "varpro.fitting.batch",
    "Bootstrap": "varpro.fitting.bootstrap",
    "Comparison": "varpro.fitting.comparison",
    "DmdResult": "varpro.fitting.dmd_result",
    "FitResult": "varpro.fitting.result",
    "Functional": "varpro.fitting.functional",
    "GlobalFitResult": "varpro.fitting.joint_result",
    "Posterior": "varpro.fitting.posterior",
    "Profile": "varpro.fitting.profile",
    "SetResult": "varpro.fitting.joint_result",
    "Status": "varpro.result",
    "check_derivative": "varpro.fitting.check_derivative",
    "compare": "varpro.fitting.comparison",
    "dmd": "varpro.fitting.dmd",
    "fit": "varpro.fitting.api",
    "fit_batch": "varpro.fitting.api",
    "fit_global": "varpro.fitting.joint",
    "functional": "varpro.fitting.functional",
}
_SUBMODULES = ("losses", "models")


if not TYPE_CHECKING:  # a type checker would conclude that every name exists

    def __getattr__(name: str) -> object:
        if name in _SUBMODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(path: "str | Path") -> "TrainedModel":
    """The network of a model.h5: `.predict(images)` gives labels (N,), `.scores(images)` outputs (N, K).

    images : (N, L, R), (N, C, L, R) or (N, d1, .., dk), floats in [0, 1] or bytes.  Raises DataError.  Needs
    h5py, and PyTorch for a network that was trained with it.
    """
    from varpro.train.storage import load_model

    return load_model(path)
