"""Several models of the same data beside one another: criteria, Akaike weights, F-tests of neighbours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from varpro.errors import ConfigError
from varpro.fitting.export import need
from varpro.fitting.notebook import html_table, text_table

if TYPE_CHECKING:
    import pandas

    from varpro.fitting.data import Data
    from varpro.fitting.result import FitResult

SAME = 1e-9
"""Largest difference of two sets of data, relative to the largest value, that counts as rounding."""


@dataclass(frozen=True)
class Compared:
    """One fit of a comparison."""

    name: str
    place: int
    """Its position among the fits that were given."""
    parameters: float
    """The number p of fitted parameters, amplitudes included."""
    rss: float
    aic: float
    aicc: float
    bic: float
    weight: float
    """exp(-(aicc - least aicc) / 2), scaled to a sum of 1: the share of evidence for each model."""
    f: float
    """F against the row above, if that is nested in this one; NaN without one."""
    probability: float
    """The probability of so large an F if the row above is true."""


@dataclass(frozen=True)
class Comparison:
    """The fits of `varpro.compare` in the order of their number of parameters; iterates over its rows."""

    rows: tuple[Compared, ...]

    @property
    def best(self) -> Compared:
        """The row of least aicc; of least bic where no aicc is finite."""
        finite = [row for row in self.rows if np.isfinite(row.aicc)]
        return min(finite, key=lambda row: row.aicc) if finite else min(self.rows, key=lambda row: row.bic)

    def __iter__(self) -> Iterator[Compared]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        head = ["model", "parameters", "rss", "AIC", "AICc", "BIC", "weight", "F", "p of F"]
        table = []
        for row in self.rows:
            numbers = [f"{row.parameters:.4g}", f"{row.rss:.6g}", *(f"{v:.2f}" for v in (row.aic, row.aicc, row.bic))]
            tested = np.isfinite(row.f) or np.isinf(row.f)
            numbers += [f"{row.weight:.3f}", *((f"{row.f:.4g}", f"{row.probability:.2g}") if tested else ("", ""))]
            table.append([f"{row.name} *" if row is self.best else row.name, *numbers])
        return head, table

    def __str__(self) -> str:
        note = "* least AICc.  F tests a row against the one above, which it must contain."
        return text_table(*self._cells()) + "\n" + note

    def _repr_html_(self) -> str:
        return html_table(*self._cells())

    def to_dataframe(self) -> "pandas.DataFrame":
        """A pandas table with one row per fit."""
        columns = [f.name for f in fields(Compared)]
        return need("pandas").DataFrame([[getattr(row, c) for c in columns] for row in self.rows], columns=columns)


def compare(fits: "Iterable[FitResult] | Mapping[str, FitResult]", names: Sequence[str] | None = None) -> Comparison:
    """Compare fits of the same data: AIC, AICc, BIC, Akaike weights and F-tests, as a table.

    fits : two or more, in any order, or {name: fit}.  names : what to call them; by default their parameters.
    Raises ConfigError if the fits have different data, weights or losses, or one did not converge.
    """
    if isinstance(fits, Mapping):
        return compare(list(fits.values()), list(fits) if names is None else names)
    if not isinstance(fits, Iterable):
        raise ConfigError(f"compare takes a list of fits, not a single {type(fits).__name__}")
    fits = list(fits)
    if len(fits) < 2:
        raise ConfigError(f"compare takes 2 fits or more, not {len(fits)}")
    for i, fit in enumerate(fits):
        if not hasattr(fit, "_solution"):
            raise ConfigError(f"compare takes results of varpro.fit; number {i} is a {type(fit).__name__}")
    if names is not None and len(names) != len(fits):
        raise ConfigError(f"names has {len(names)} entries; there are {len(fits)} fits")
    require_same_data(fits)
    given = names if names is not None else [_name(fit) for fit in fits]
    order = sorted(range(len(fits)), key=lambda i: (fits[i]._n_fitted, i))
    aicc = np.array([fit.aicc for fit in fits])
    weight = _weights(aicc)
    rows, before = [], None
    for i in order:
        fit = fits[i]
        larger = before is not None and fit._n_fitted > before._n_fitted
        f, p = fit.f_test(before) if larger and before is not None else (np.nan, np.nan)
        rows.append(Compared(given[i], i, fit._n_fitted, fit.rss, fit.aic, fit.aicc, fit.bic, float(weight[i]), f, p))
        before = fit
    return Comparison(tuple(rows))


def _weights(aicc: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Akaike weights; an infinite aicc has none, unless all do."""
    least = aicc.min()
    if not np.isfinite(least):
        same = aicc == least
        return same / same.sum()
    weight = np.exp(-0.5 * (aicc - least))
    return weight / weight.sum()


def _name(fit: "FitResult") -> str:
    words = " ".join(fit.names)
    return words if len(words) <= 40 else f"{words[:37]}..."


def require_same_data(fits: Sequence["FitResult"]) -> None:
    """Raise ConfigError unless all fits have the same data, weights and loss, and converged."""
    first = fits[0]._solution.own_data
    for i, fit in enumerate(fits):
        if not fit.success:
            raise ConfigError(f"fit {i} did not converge ({fit.status.label}); compare minima")
        data = fit._solution.own_data
        if fit._solution.loss != "linear":
            raise ConfigError(f"fit {i} has loss={fit._solution.loss!r}; the criteria are those of least squares")
        if data.y.shape != first.y.shape:
            raise ConfigError(f"fit {i} has data of shape {data.y.shape[1:]}, the first {first.y.shape[1:]}")
        mine, other = (d.total_weight() * d.weight_unit for d in (data, first))
        if not (_same(mine, other) and _same(mine * data.y, other * first.y)):
            raise ConfigError(f"fit {i} has other data or weights than the first; compare fits of the same data")
        if not _same_points(data, first):
            raise ConfigError(f"fit {i} has other t than the first; compare fits of the same data")


def _same(one: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", two: object) -> bool:
    return bool(np.abs(one - np.asarray(two)).max(initial=0.0) <= SAME * np.abs(one).max(initial=0.0))


def _same_points(one: "Data", two: "Data") -> bool:
    """Whether t is the same where a value is used; points of another kind, such as images, cannot be told apart."""
    (t, used), (other, _) = ((d.t[0] if d.own_t else d.t, d.total_weight()[0].any(axis=1)) for d in (one, two))
    if t.shape != other.shape or t.dtype.kind not in "iuf" or other.dtype.kind not in "iuf":
        return t.shape == other.shape
    return bool((t[used] == other[used]).all()) and one.clock == two.clock
