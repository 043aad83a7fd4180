"""A separable model as a scikit-learn regressor."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import varpro
from varpro.arrays import Array
from varpro.errors import DataError

_OWN = ("model", "w0")


class VarproRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """y ~ Phi(X, w) A; the options are those of `varpro.fit`.

    model : (t, w) -> (N, I), or a ready model of `varpro.models`; X (n, 1) reaches it as t (n,), X (n, p) as it is.
    w0 : (P,) start; None for a ready model.  ridge, max_iterations, ... are parameters for a grid search.

    After fit: nonlinear_ (P,), linear_ (I,) or (I, K), stderr_nonlinear_, stderr_linear_, n_iter_, n_features_in_, and
    result_, the whole FitResult.
    """

    def __init__(
        self,
        model: Any,
        w0: Any = None,
        *,
        derivative: Any = None,
        names: Any = None,
        linear_names: Any = None,
        absolute_sigma: bool = False,
        bounds: Any = None,
        fixed: Any = None,
        tied: Any = None,
        linear: Any = "free",
        linear_equality: Any = None,
        ridge: Any = 0.0,
        fixed_term: Any = None,
        fixed_term_derivative: Any = None,
        loss: str = "linear",
        loss_scale: float | None = None,
        jacobian: str = "golub-pereyra",
        multistart: int = 0,
        seed: int = 0,
        max_iterations: int = 200,
        cost_tolerance: float = 1e-14,
        step_tolerance: float = 1e-9,
        gradient_tolerance: float = 1e-14,
        rank_tolerance: float | None = None,
    ) -> None:
        self.model, self.w0 = model, w0
        self.derivative, self.names, self.linear_names = derivative, names, linear_names
        self.absolute_sigma = absolute_sigma
        self.bounds, self.fixed, self.tied = bounds, fixed, tied
        self.linear, self.linear_equality, self.ridge = linear, linear_equality, ridge
        self.fixed_term, self.fixed_term_derivative = fixed_term, fixed_term_derivative
        self.loss, self.loss_scale, self.jacobian = loss, loss_scale, jacobian
        self.multistart, self.seed = multistart, seed
        self.max_iterations, self.rank_tolerance = max_iterations, rank_tolerance
        self.cost_tolerance, self.step_tolerance = cost_tolerance, step_tolerance
        self.gradient_tolerance = gradient_tolerance

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """X (n, p), y (n,) or (n, K); sample_weight (n,) multiplies the squared residuals.

        Raises VarproError, a ValueError, for what cannot be fitted.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        options = {name: value for name, value in self.get_params(deep=False).items() if name not in _OWN}
        weights = None
        if sample_weight is not None:
            weights = np.sqrt(_check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True))
            if not weights.any():
                raise DataError("sample_weight is zero everywhere; leave some observations in")
        self.result_ = varpro.fit(self.model, _predictors(X), y, self.w0, weights=weights, **options)
        self.nonlinear_, self.linear_ = self.result_.nonlinear, self.result_.linear
        self.n_iter_ = self.result_.njev
        return self

    @property
    def stderr_nonlinear_(self) -> Array:
        """(P,) standard errors."""
        check_is_fitted(self)
        return self.result_.stderr_nonlinear

    @property
    def stderr_linear_(self) -> Array:
        """(I,) or (I, K) standard errors."""
        check_is_fitted(self)
        return self.result_.stderr_linear

    def predict(self, X: Any) -> Array:
        """(n,) or (n, K) model values at X (n, p)."""
        check_is_fitted(self)
        return self.result_.predict(_predictors(validate_data(self, X, reset=False, dtype=np.float64)))


def _predictors(x: Array) -> Array:
    return x[:, 0] if x.shape[1] == 1 else x
