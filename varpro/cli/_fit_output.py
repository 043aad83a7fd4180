"""What varpro-fit leaves behind: result.json, table.csv, config.resolved.yaml and fit.png."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from varpro import __version__
from varpro.arrays import Array
from varpro.config.fit import FitConfig
from varpro.fitting.batch import BatchResult
from varpro.fitting.result import FitResult
from varpro.report.batch_plot import draw_batch
from varpro.report.fit_plot import draw_fit
from varpro.report.record import plain
from varpro.result import Status

ROWS = 4096
"""Lines of table.csv that are written at a time."""


@dataclass(frozen=True)
class Rows:
    """The numbers of B fits, in the form in which ranks exchange them and table.csv lists them."""

    names: tuple[str, ...]
    linear_names: tuple[str, ...]
    nonlinear: Array
    """The nonlinear parameters, (B, P)."""
    linear: Array
    """The amplitudes, (B, I, K)."""
    stderr_nonlinear: Array
    stderr_linear: Array
    """The standard errors of the amplitudes, (B, I, K), complex if `linear` is."""
    rss: Array
    status: Array
    nfev: Array

    @classmethod
    def of(cls, many: BatchResult) -> "Rows":
        """The rows of one rank."""
        return cls(
            many.names, many.linear_names, many.nonlinear, many.linear, many.stderr_nonlinear, many.stderr_linear,
            many.rss, many.status, many.nfev,
        )  # fmt: skip

    @classmethod
    def one(cls, fit: FitResult) -> "Rows":
        """The row of a single fit."""
        linear, errors = (np.atleast_2d(a.T).T[None] for a in (fit.linear, fit.stderr_linear))
        return cls(
            fit.names, fit.linear_names, fit.nonlinear[None], linear, fit.stderr_nonlinear[None], errors,
            np.array([fit.rss]), np.array([fit.status]), np.array([fit.nfev]),
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: list["Rows"]) -> "Rows":
        """Blocks of rows, one after another."""
        arrays = ("nonlinear", "linear", "stderr_nonlinear", "stderr_linear", "rss", "status", "nfev")
        first = parts[0]
        return cls(first.names, first.linear_names, *(np.concatenate([getattr(p, n) for p in parts]) for n in arrays))

    @property
    def converged(self) -> Array:
        """Whether each fit converged, (B,) bool."""
        return np.isin(self.status, [status for status in Status if status.converged])

    def columns(self) -> dict[str, Array]:
        """Names and (B,) numbers; each parameter and amplitude is followed by its standard error."""
        out: dict[str, Array] = {}
        for p, name in enumerate(self.names):
            out[name], out[f"stderr {name}"] = self.nonlinear[:, p], self.stderr_nonlinear[:, p]
        count = self.linear.shape[2]
        for i, stem in enumerate(self.linear_names):
            for k in range(count):
                name = f"a {stem}" if count == 1 else f"a {stem} {k}"
                values, errors = self.linear[:, i, k], self.stderr_linear[:, i, k]
                if np.iscomplexobj(values):
                    for part, take in (("real", np.real), ("imag", np.imag)):
                        out[f"{name}.{part}"], out[f"stderr {name}.{part}"] = take(values), take(errors)
                else:
                    out[name], out[f"stderr {name}"] = values, errors
        return out | {"rss": self.rss}

    def counts(self) -> dict[str, int]:
        """How many fits ended with each status."""
        values, numbers = np.unique(self.status, return_counts=True)
        return {Status(int(v)).label: int(n) for v, n in zip(values, numbers, strict=True)}


def write_single(
    fit: FitResult, config: FitConfig, model: str, data: str, output: Path, notes: Sequence[str] = ()
) -> None:
    """Write the files of one fit; notes : what was left out or converted on reading.  Raises OSError."""
    extra = {"r_squared": fit.r_squared, "reduced_chi2": fit.reduced_chi2, "sigma": fit.sigma, "ridge": fit.ridge}
    _write_common({"problems": 1, **fit.to_dict(), **extra, "notes": list(notes)}, config, model, data, output)
    _write_table(Rows.one(fit), (), output / "table.csv")
    draw_fit(fit, output / "fit.png")


def write_batch(
    rows: Rows,
    shape: tuple[int, ...],
    config: FitConfig,
    model: str,
    data: str,
    output: Path,
    summary: Mapping[str, object],
) -> None:
    """Write the files of a batch; shape : leading dimensions of the data.  Raises OSError."""
    good = rows.converged
    quartiles = {}
    for name, values in rows.columns().items():
        if good.any() and not name.startswith("stderr "):
            low, middle, high = np.nanpercentile(values[good], (25, 50, 75))
            quartiles[name] = {"median": middle, "lower_quartile": low, "upper_quartile": high}
    result = {"problems": len(rows.rss), "shape": shape, "converged": int(good.sum()), "status": rows.counts()}
    result |= {"nfev": int(rows.nfev.sum()), "quartiles_of_converged": quartiles, **summary}
    _write_common(result, config, model, data, output)
    _write_table(rows, shape, output / "table.csv")
    draw_batch(rows, (shape[0], shape[1]) if len(shape) == 2 else None, output / "fit.png")


def describe_batch(rows: Rows) -> str:
    """A few lines for the screen."""
    good = rows.converged
    lines = [f"{len(good)} fits: " + ", ".join(f"{n} {label}" for label, n in rows.counts().items())]
    for name, values in rows.columns().items():
        if good.any() and not name.startswith("stderr ") and len(lines) <= 20:
            low, middle, high = np.nanpercentile(values[good], (25, 50, 75))
            lines.append(f"  {name:<16} median {middle:<12.6g} quartiles {low:.6g} to {high:.6g}")
    return "\n".join(lines)


def _write_common(result: Mapping[str, object], config: FitConfig, model: str, data: str, output: Path) -> None:
    result = {"varpro": __version__, "model": model, "data": data, **result}
    (output / "result.json").write_text(json.dumps(plain(result), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    resolved = yaml.safe_dump(config.as_dict(), sort_keys=False, default_flow_style=None)
    (output / "config.resolved.yaml").write_text(resolved, encoding="utf-8")


def _write_table(rows: Rows, shape: tuple[int, ...], path: Path) -> None:
    """Write one line per problem: its place in the data, parameters, amplitudes, errors, rss, status."""
    columns = rows.columns()
    places = ["problem"] if len(shape) < 2 else [f"index_{axis}" for axis in range(len(shape))]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(",".join([*places, *columns, "nfev", "status"]) + "\n")
        for lines in _lines(rows, shape, columns):
            file.writelines(lines)


def _lines(rows: Rows, shape: tuple[int, ...], columns: dict[str, Array]) -> Iterator[list[str]]:
    count = len(rows.rss)
    labels = {status.value: status.label for status in Status}
    for first in range(0, count, ROWS):
        block = slice(first, min(first + ROWS, count))
        index = np.unravel_index(np.arange(block.start, block.stop), shape if len(shape) > 1 else (count,))
        places = np.stack(index, axis=1).tolist()
        numbers = np.stack([values[block] for values in columns.values()], axis=1).tolist()
        ends = zip(rows.nfev[block].tolist(), rows.status[block].tolist(), strict=True)
        yield [
            ",".join([*map(str, place), *(f"{x:.12g}" if x == x else "" for x in row), str(nfev), labels[status]])
            + "\n"
            for place, row, (nfev, status) in zip(places, numbers, ends, strict=True)
        ]
