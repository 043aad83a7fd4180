"""Parameters drawn many times, by a bootstrap or from a posterior: their spread, and intervals of equal tails."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.fitting.complex_parts import both_parts
from varpro.fitting.export import need
from varpro.fitting.notebook import html_table, text_table

if TYPE_CHECKING:
    import pandas

SHOWN = 40
"""Most parameters of a table."""


@dataclass(frozen=True)
class Draws:
    """m draws of all parameters; only those that count."""

    names: tuple[str, ...]
    """The nonlinear parameters; complex ones as their real parts, then their imaginary parts."""
    linear_names: tuple[str, ...]
    nonlinear: Array = field(repr=False)
    """(m, P), complex where the fit's are."""
    linear: Array = field(repr=False)
    """The amplitudes, (m, I, K)."""

    def __len__(self) -> int:
        return len(self.nonlinear)

    @property
    def stderr_nonlinear(self) -> Array:
        """(P,) standard deviations of the draws; those of complex parameters for each part."""
        return both_parts(lambda part: np.std(part, axis=0, ddof=1), self.nonlinear)

    @property
    def stderr_linear(self) -> Array:
        """(I, K) standard deviations of the amplitudes."""
        return both_parts(lambda part: np.std(part, axis=0, ddof=1), self.linear)

    @property
    def covariance(self) -> Array:
        """The covariance of the draws, (P + I K,) squared, in the order of FitResult.covariance."""
        flat = self.linear.reshape(len(self), -1)
        parts = [part for table in (self.nonlinear, flat) for part in _real(table)]
        return np.atleast_2d(np.cov(np.concatenate(parts, axis=1), rowvar=False))

    def interval(self, name: str, level: float = 0.95) -> tuple[float, float]:
        """The limits between which the share `level` of the draws of a parameter lies, with equal tails.

        name : of a parameter or amplitude; name[k] for the k-th of several right-hand sides.  Raises ConfigError.
        """
        if not 0 < level < 1:
            raise ConfigError(f"level is {level}; it needs a number between 0 and 1, such as 0.95")
        table = self.to_dict()
        if name not in table:
            raise ConfigError(f"no parameter is called {name!r}; there are {', '.join(list(table)[:SHOWN])}")
        low, high = np.quantile(table[name], [0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)

    def to_dict(self) -> dict[str, Array]:
        """The draws (m,) of every real number, by name."""
        out = dict(zip(self.names, np.concatenate(_real(self.nonlinear), axis=1).T, strict=True))
        several, parts = self.linear.shape[2] > 1, _real(self.linear)
        for end, part in zip(("",) if len(parts) == 1 else (".real", ".imag"), parts, strict=True):
            for i, name in enumerate(self.linear_names):
                for k in range(part.shape[2]):
                    out[f"{name}{f'[{k}]' if several else ''}{end}"] = part[:, i, k]
        return out

    def to_dataframe(self) -> "pandas.DataFrame":
        """A pandas table with one row per draw."""
        return need("pandas").DataFrame(self.to_dict())

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        table = list(self.to_dict().items())[:SHOWN]
        rows = []
        for name, values in table:
            low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
            numbers = (float(np.mean(values)), float(np.std(values, ddof=1)), low, middle, high)
            rows.append([name, *(f"{v:.6g}" for v in numbers)])
        return ["parameter", "mean", "std. dev.", "2.5 %", "median", "97.5 %"], rows

    def __str__(self) -> str:
        return f"{text_table(*self._cells())}\n{self._headline()}"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), [self._headline()])

    def _headline(self) -> str:
        return f"{len(self)} draws"


def _real(values: Array) -> list[Array]:
    return [values.real, values.imag] if np.iscomplexobj(values) else [values]
