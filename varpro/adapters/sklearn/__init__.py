"""Estimators with the interface of scikit-learn: separable models as a regressor, and scalarized networks as a
classifier and a regressor of images or vectors."""

from varpro.adapters.sklearn.curves import VarproRegressor
from varpro.adapters.sklearn.networks import VarproClassifier, VarproNetworkRegressor

__all__ = ["VarproClassifier", "VarproNetworkRegressor", "VarproRegressor"]
