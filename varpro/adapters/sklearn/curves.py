"""A separable model as a scikit-learn regressor.

scikit-learn reads the parameter names from the signature of __init__, which is made from FitOptions here.
"""

import inspect
from dataclasses import fields
from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from varpro.arrays import Array, ArrayLike, on_host
from varpro.errors import DataError, ShapeError
from varpro.fitting.model import Function
from varpro.fitting.options import FitOptions
from varpro.fitting.solve import fit_one

OF_DATA = ("weights", "mask", "callback", "progress", "dtype", "backend")
"""Options of `varpro.fit` that scikit-learn handles in its own way, or that belong to one set of data."""
OPTIONS = {f.name: f.default for f in fields(FitOptions) if f.name not in OF_DATA}
"""The other options and their defaults, which are the parameters of the regressor."""


class VarproRegressor(RegressorMixin, BaseEstimator):
    """y ~ Phi(X, w) A; the options are those of `varpro.fit`.

    model : (t, w) -> (N, I), or a ready model of `varpro.models`; X (n, 1) is passed to it as t (n,), X (n, p)
    unchanged.
    w0 : (P,) start; None for a ready model.  ridge, max_iterations, ... are parameters for a grid search;
    fitting.options describes each of them.

    After fit: nonlinear_ (P,), linear_ (I,) or (I, K), stderr_nonlinear_, stderr_linear_, n_iter_, n_features_in_, and
    result_, the whole FitResult.
    """

    def __init__(self, model: Function, w0: ArrayLike | None = None, **options: object) -> None:
        unknown = sorted(options.keys() - OPTIONS.keys())
        if unknown:
            raise TypeError(f"VarproRegressor takes no {unknown[0]}; its options are {', '.join(OPTIONS)}")
        self.model, self.w0 = model, w0
        for name, default in OPTIONS.items():
            setattr(self, name, options.get(name, default))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit X (n, p), y (n,) or (n, K); sample_weight (n,) multiplies the squared residuals.

        Raises VarproError, a ValueError, for input that cannot be fitted.
        """
        X, y, sample_weight = on_host((X, y, sample_weight))
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        weights = None
        if sample_weight is not None:
            weights = np.sqrt(_check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True))
            if not weights.any():
                raise DataError("sample_weight is zero everywhere; leave some observations in")
        options = FitOptions(weights=weights, **{name: getattr(self, name) for name in OPTIONS})
        x = np.asarray(X)
        try:
            self.result_ = fit_one(self.model, _predictors(x), y, self.w0, options)
        except ShapeError as error:  # in scikit-learn's words: its users count samples
            raise ShapeError(f"n_samples = {len(x)}: {error}") from error
        self.nonlinear_, self.linear_ = self.result_.nonlinear, self.result_.linear
        self.n_iter_ = self.result_.njev
        return self

    @property
    def stderr_nonlinear_(self) -> Array:
        """The standard errors of the nonlinear parameters, (P,)."""
        check_is_fitted(self)
        return self.result_.stderr_nonlinear

    @property
    def stderr_linear_(self) -> Array:
        """The standard errors of the amplitudes, (I,) or (I, K)."""
        check_is_fitted(self)
        return self.result_.stderr_linear

    def predict(self, X: ArrayLike) -> Array:
        """(n,) or (n, K) model values at X (n, p)."""
        check_is_fitted(self)
        return self.result_.predict(_predictors(validate_data(self, on_host(X), reset=False, dtype=np.float64)))


def _predictors(x: Array) -> Array:
    return x[:, 0] if x.shape[1] == 1 else x


_KEYWORDS = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in OPTIONS.items()]
_OWN = [p for name, p in inspect.signature(VarproRegressor.__init__).parameters.items() if name != "options"]
VarproRegressor.__init__.__signature__ = inspect.Signature([*_OWN, *_KEYWORDS])  # type: ignore[attr-defined]
