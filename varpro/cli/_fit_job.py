"""What varpro-fit does: read, fit alone or in blocks over the ranks, write."""

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import varpro
from varpro.arrays import Array
from varpro.cli._fit_data import FitData, read_data
from varpro.cli._fit_output import Rows, describe_batch, write_batch, write_single
from varpro.cli._output import ELSEWHERE, output_folder
from varpro.config.fit import FitConfig, load_fit_config
from varpro.distributed import Communicator, blas_threads, threads_per_rank
from varpro.errors import ConfigError, unwritable
from varpro.models import Model
from varpro.report.progress import make_display


def run_job(comm: Communicator, options: Namespace) -> int:
    """Exit code of a fit with the options of the command line.  Collective; raises VarproError."""
    config = load_fit_config(options.config, options.set, options.output)
    model = config.build()
    if options.dry_run:
        if comm.rank == 0:
            found = read_data(options.data, config)
            print(_describe(config, model, found, _start(config, model, found), comm.size))
        return 0
    with output_folder(comm, Path(str(config.output)), overwrite=options.overwrite) as output:
        data = read_data(options.data, config) if comm.rank == 0 else None
        start = None if data is None else _start(config, model, data)
        start, single = comm.bcast((start, data is not None and data.single))
        if not single:
            _fit_batch(comm, config, model, data, start, output, options)
        elif data is not None:
            _fit_single(config, model, data, output, options)
    return 0


def _start(config: FitConfig, model: Model, data: FitData) -> Array | None:
    """Starting values: the config's, else a guess; for a batch from the mean of all problems, whichever rank has
    them."""
    names = model.parameter_names
    if not names:
        raise ConfigError("model: has only linear parameters; add a summand with nonlinear ones, such as exponentials")
    if config.start is not None:
        if len(config.start) != len(names):
            raise ConfigError(f"start has {len(config.start)} values; the model has {len(names)}: {', '.join(names)}")
        return np.array(config.start)
    if data.single:
        return None
    t = data.t if data.t.ndim == 1 or data.t.shape != data.y.shape[:2] else data.t[0]
    return _guessed(model, t, _mean(data.y))


def _mean(values: Array) -> Array:
    """Mean of the finite values over the first axis; NaN where there are none."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(values)
        mean: Array = np.where(finite, values, 0.0).sum(axis=0) / finite.sum(axis=0)
    return mean


def _guessed(model: Model, t: Array, y: Array) -> Array | None:
    """The model's guess from the points where all columns of y (N,) or (N, K) have a value, else from their mean.

    None if t does not fit y or y has no value; `varpro.fit` reports both.
    """
    if t.ndim != 1 or len(t) != len(y) or not len(y):
        return None
    good = np.isfinite(y) if y.ndim == 1 else np.isfinite(y).all(axis=1)
    if y.ndim > 1 and good.sum() <= len(model.parameter_names):
        y = _mean(y.T)
        good = np.isfinite(y)
    return np.asarray(model.guess(t[good], y[good])) if good.any() else None


def _fit_single(config: FitConfig, model: Model, data: FitData, output: Path, options: Namespace) -> None:
    with blas_threads(1), make_display(quiet=options.quiet, first_rank=True) as display:
        display.phase("fit", 1)
        fit = varpro.fit(
            model, data.t, data.y, config.start, weights=data.weights,
            multistart=config.multistart, seed=config.seed, **config.options(),
        )  # fmt: skip
        display.advance(fit.cost)
    try:
        write_single(fit, config, repr(model), options.data, output, data.notes)
    except OSError as error:
        raise unwritable(f"output folder {output}", error, ELSEWHERE) from error
    if not options.quiet:
        outcome = "" if fit.success else f"not converged: {fit.status.message}\n\n"
        print(f"{_told(options.data, data)}{fit}\n\n{outcome}{model!r} -> {output}")


def _told(source: str, data: FitData) -> str:
    """What was left out or converted on reading, one line each, and an empty line."""
    return "".join(f"{source}: {note}\n" for note in data.notes) + ("\n" if data.notes else "")


def _fit_batch(
    comm: Communicator,
    config: FitConfig,
    model: Model,
    data: FitData | None,
    start: Array | None,
    output: Path,
    options: Namespace,
) -> None:
    if config.multistart:
        raise ConfigError("multistart is for a single fit; start a batch elsewhere with start")
    clock = time.perf_counter()
    own = _scattered(comm, data)
    rows = None
    with blas_threads(1), make_display(quiet=options.quiet, first_rank=comm.rank == 0) as display:
        if len(own.y):
            display.phase("fits" if comm.size == 1 else f"fits of rank 0 of {comm.size}", len(own.y))
            many = varpro.fit_batch(
                model, own.t, own.y, start, weights=own.weights, threads=threads_per_rank(comm),
                progress=lambda n: display.advance(n=n), **config.options(),
            )  # fmt: skip
            rows = Rows.of(many)
        gathered = comm.gather(rows)
    if gathered is None or data is None:
        return
    everything = Rows.joined([part for part in gathered if part is not None])
    summary = {"ranks": comm.size, "elapsed_seconds": time.perf_counter() - clock, "notes": list(data.notes)}
    try:
        write_batch(everything, data.shape, config, repr(model), options.data, output, summary)
    except OSError as error:
        raise unwritable(f"output folder {output}", error, ELSEWHERE) from error
    if not options.quiet:
        print(f"{_told(options.data, data)}{describe_batch(everything)}\n\n{model!r} -> {output}")


def _scattered(comm: Communicator, data: FitData | None) -> FitData:
    """The block of problems for this rank.  Rank 0 has the data."""
    header: Any = None
    if data is not None:
        b = len(data.y)
        per_problem = {"t": data.t.ndim > 1 and data.t.shape == data.y.shape[:2]}
        per_problem["weights"] = data.weights is not None and data.weights.ndim > 1 and len(data.weights) == b
        shared = {name: getattr(data, name) for name in ("t", "weights") if not per_problem[name]}
        header = b, per_problem, shared
    b, per_problem, shared = comm.bcast(header)
    edges = np.linspace(0, b, comm.size + 1).round().astype(int)
    arrays: dict[str, Array] = dict(shared)
    for name in ("y", *(name for name in per_problem if per_problem[name])):
        if data is None:
            arrays[name] = comm.recv(0)
            continue
        whole = getattr(data, name)
        for rank in range(1, comm.size):
            comm.send(np.ascontiguousarray(whole[edges[rank] : edges[rank + 1]]), rank)
        arrays[name] = whole[: edges[1]]
    return FitData(arrays["t"], arrays["y"], arrays["weights"], (len(arrays["y"]),))


def _describe(config: FitConfig, model: Model, data: FitData, start: Array | None, ranks: int) -> str:
    """The text that --dry-run prints."""
    if start is None and data.single:
        start = _guessed(model, data.t, data.y)
    count = 1 if data.single else len(data.y)
    names = model.parameter_names
    values = ", ".join(names)
    if start is not None:
        values = ", ".join(f"{name} = {value:.6g}" for name, value in zip(names, start, strict=True))
    missing = int(np.isnan(data.y).sum())
    table = [
        ("model", repr(model)),
        ("columns", ", ".join(model.column_names)),
        ("start", values + (" (given)" if config.start is not None else " (guessed)" if start is not None else "")),
        ("data", f"y {data.y.shape}, t {data.t.shape}, {missing} missing values"),
        ("problems", f"{count} on {ranks} rank{'s' if ranks > 1 else ''}"),
        ("weights", "none" if data.weights is None else str(data.weights.shape)),
        ("output", str(config.output)),
        *(("note", note) for note in data.notes),
    ]
    resolved = yaml.safe_dump(config.as_dict(), sort_keys=False, default_flow_style=None)
    return resolved + "\n" + "\n".join(f"{name:<10}{text}" for name, text in table)
