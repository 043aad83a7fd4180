"""Estimators with the interface of scikit-learn: separable models as a regressor, and scalarized networks as a
classifier and a regressor of images or vectors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from varpro.adapters.sklearn.curves import VarproRegressor

if TYPE_CHECKING:
    from varpro.adapters.sklearn.networks import VarproClassifier, VarproNetworkRegressor

__all__ = ["VarproClassifier", "VarproNetworkRegressor", "VarproRegressor"]


if not TYPE_CHECKING:  # a type checker would conclude that every name exists

    def __getattr__(name: str) -> Any:
        """The estimators that are networks need what a training needs, and are imported on first use."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module("varpro.adapters.sklearn.networks"), name)
