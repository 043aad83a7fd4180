"""The full specification of a fit: data, model and options, all checked, and what the search derives from them."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from varpro.arrays import Array
from varpro.fitting.basis import FitBasis
from varpro.fitting.data import Data
from varpro.fitting.form import chosen_problem
from varpro.fitting.linear_part import Linear, independent_rows, mixing_of, ridge_rows
from varpro.fitting.model import UserModel
from varpro.fitting.parameters import Parameters
from varpro.problems.curves import AnyCurveProblem
from varpro.search.damping import DampingRule
from varpro.search.device import DeviceSearch
from varpro.search.termination import Termination


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Everything that defines the fit of B problems; what a search needs beyond that is computed once, on demand."""

    data: Data
    model: UserModel
    names: Parameters
    linear: Linear
    complex_data: bool = False
    complex_w: bool = False
    kaufman: bool = False
    rank_tolerance: float | None = None
    termination: Termination
    damping: DampingRule
    threads: int = 1
    device: DeviceSearch | None = None
    """The search on a GPU; None searches on the CPU."""

    @property
    def parts(self) -> int:
        """The real numbers per value: 2 for complex data."""
        return 2 if self.complex_data else 1

    @property
    def n_amplitudes(self) -> int:
        """I, not counting the pinned column."""
        return self.model.n_columns - self.linear.pinned

    @property
    def n_parameters(self) -> Array:
        """(B,) the unknown real numbers of each problem: free parameters, and the amplitudes of right-hand sides that
        have any values."""
        data, equality = self.data, self.linear.equality
        constraints = 0 if equality is None else independent_rows(equality[0])
        each = self.n_amplitudes * self.parts - constraints
        if data.separate and data.weights is not None:
            held: Array = (data.weights > 0).any(axis=1).sum(axis=1)
            return np.broadcast_to(self.names.n_free + each * held, len(data.y))
        return np.full(len(data.y), self.names.n_free + each * data.y.shape[2])

    @property
    def ridged(self) -> bool:
        """Whether the cost has a ridge term."""
        return self.linear.ridge != 0 or self.linear.ridge_matrix is not None

    @property
    def pinned(self) -> bool:
        """Whether the last of the columns that are solved for has the coefficient 1."""
        return self.linear.pinned or self.linear.equality is not None

    @property
    def separate(self) -> bool:
        """Whether each right-hand side has a linear problem of its own."""
        return self.pinned or self.linear.lower is not None or self.data.separate

    @cached_property
    def mixing(self) -> Array | None:
        """(I, I'): a = mixing a'; None for the identity."""
        return mixing_of(self.linear, self.model.n_columns * self.parts, split=self.complex_data)

    @cached_property
    def basis(self) -> FitBasis:
        """The model as the search sees it."""
        data, weights = self.data, self.weights
        columns = self.model.n_columns * self.parts
        rows = ridge_rows(self.linear, columns, split=self.complex_data, always=self.separate)
        return FitBasis(
            model=self.model,
            names=self.names,
            weights=None if data.separate else weights,
            complex_data=self.complex_data,
            complex_w=self.complex_w,
            mixing=self.mixing,
            extra_rows=rows if rows is None or self.mixing is None else rows @ self.mixing,
            excluded=data.excluded if data.separate else None,
        )

    @property
    def weights(self) -> Array | None:
        """The weights of the data, repeated for the imaginary parts of complex data."""
        weights = self.data.weights
        return np.concatenate([weights, weights], axis=1) if weights is not None and self.complex_data else weights

    @property
    def real_y(self) -> Array:
        """(B, N', K) unweighted, the imaginary parts of complex data below the real ones."""
        y = self.data.y
        return np.concatenate([y.real, y.imag], axis=1) if self.complex_data else y

    @cached_property
    def y(self) -> Array:
        """(B, N'', K) weighted and real, with zeros beside the rows of a ridge."""
        y, weights, rows = self.real_y, self.weights, self.basis.extra_rows
        if weights is not None:
            y = y * (weights if self.data.separate else weights[:, :, None])
        return y if rows is None else np.concatenate([y, np.zeros((len(y), len(rows), y.shape[2]))], axis=1)

    @cached_property
    def problem(self) -> AnyCurveProblem:
        """The problem in the form that suits it.  Raises ConfigError for options that exclude each other."""
        return chosen_problem(self)

    def coefficients(self, a: Array) -> Array:
        """(b, I, K) of the model's columns, including the pinned one, from the real, mixed a (b, I', K)."""
        if self.mixing is not None:
            a = np.einsum("ij,bjk->bik", self.mixing, a)
        half = a.shape[1] // 2
        return a[:, :half] + 1j * a[:, half:] if self.complex_data else a

    def values(self, w: Array, coefficients: Array, problems: Array) -> Array:
        """(b, N, K) model values of problems (b,) with parameters (b, P) and coefficients (b, I, K)."""
        with np.errstate(all="ignore"):
            return self.model.values(w, problems) @ coefficients

    def amplitude_map(self) -> Array:
        """(I, I') from mixed to the user's real amplitudes (complex: real, then imaginary parts), the pinned left
        out."""
        mixing = np.eye(self.basis.n_columns) if self.mixing is None else self.mixing.copy()
        if self.mixing is not None:
            mixing[:, -1] = 0.0
        keep = np.ones(len(mixing), dtype=bool)
        if self.linear.pinned:
            each = self.model.n_columns
            keep[each - 1 :: each] = False
        return mixing[keep]

    def of(self, problems: Array) -> "Spec":
        """The specification of some problems, (b,)."""
        data = self.data.of(problems)
        model = replace(self.model, t=data.t, tried=None)
        return replace(self, data=data, model=model, names=self.names.of(problems))

    def repeated(self, count: int) -> "Spec":
        """The specification with its one problem repeated `count` times."""
        data = self.data
        own = replace(
            data,
            y=np.repeat(data.y, count, axis=0),
            status=np.repeat(data.status, count),
            valid=np.repeat(data.valid, count),
        )
        return replace(self, data=own)

    def one(self, problem: int) -> "Spec":
        """The specification of one problem by itself, with t as in a single fit."""
        data = self.data.of(np.array([problem]))
        if data.own_t:
            data = replace(data, t=data.t[0], own_t=False)
        return replace(self, data=data, model=self.model.of(problem), names=self.names.of(np.array([problem])))

    def weighted(self, factors: Array) -> "Spec":
        """The specification with factors (B, N, K) on the weights."""
        return replace(self, data=self.data.with_weights(self.data.total_weight() * factors))

    def __getstate__(self) -> dict[str, object]:
        """For pickle: what is derived for the search is computed anew."""
        return {f.name: getattr(self, f.name) for f in fields(self)}
