"""varpro-train: run a config, alone or under mpirun, and leave a folder that tells what came of it."""

import os
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import yaml

from varpro import __version__
from varpro.cli._guard import ArgumentParser, run
from varpro.config import RunConfig, check_partition, list_configs, load_config
from varpro.distributed import Communicator
from varpro.distributed.threads import threads_per_rank
from varpro.errors import BackendError, ConfigError, OutputError
from varpro.report.progress import make_display
from varpro.train.cost import plan
from varpro.train.datasets import DataSet, load_dataset

PROGRAM = "varpro-train"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 2 for a mistake of the user's, 1 for one of ours."""
    return run(PROGRAM, lambda comm: _main(comm, argv))


def _main(comm: Communicator, argv: Sequence[str] | None) -> int:
    options = _parse(comm, argv)
    if options.list_configs:
        if comm.rank == 0:
            print("\n".join(list_configs()))
        return 0
    if options.config is None:
        raise ConfigError(f"which config? name a file or one of {', '.join(list_configs())}; see `{PROGRAM} --help`")
    config = load_config(options.config, options.set, seed=options.seed, backend=options.backend, output=options.output)
    _check_backend(config)
    output = Path(config.output or "runs")
    if not options.dry_run:
        _collectively(comm, lambda: prepare_output(output, overwrite=options.overwrite))
    clock = time.perf_counter()
    dataset = load_dataset(config.data.source, options.data, comm=comm)
    n_train = len(dataset.split(config.data.validation, config.data.train, config.data.test).train)
    check_partition(config, n_train, dataset.n_classes, dataset.shape)
    if options.dry_run:
        if comm.rank == 0:
            print(describe(config, dataset, n_train, comm.size, threads_per_rank(comm)))
        return 0
    return _train(comm, config, dataset, output, options.quiet, time.perf_counter() - clock)


def _train(comm: Communicator, config: RunConfig, dataset: DataSet, output: Path, quiet: bool, load_seconds: float) -> int:
    from varpro.train.trainer import train

    with make_display(quiet=quiet, first_rank=comm.rank == 0) as display:
        outcome = train(config, comm, dataset=dataset, display=display, load_seconds=load_seconds)
        if outcome is not None:
            from varpro.report.outputs import write_outputs
            from varpro.train.storage import save_network

            record, network = outcome
            save_network(output / "model.h5", network)
            write_outputs(record, output)
    if outcome is not None and not quiet:
        from varpro.report.screen import print_summary

        print_summary(record, output)
    return 0


def _parse(comm: Communicator, argv: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(comm, prog=PROGRAM, description="Train a scalarized network by variable projection.")
    parser.add_argument("config", nargs="?", help="a YAML file, or the name of a shipped config (see --list-configs)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the data sets (else $VARPRO_DATA, ./data, the cache)")
    parser.add_argument("--output", metavar="DIR", help="folder for the results (default runs/<config>)")
    parser.add_argument("--backend", choices=("auto", "cpu", "cuda"), help="where to compute")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a config key; repeatable")
    parser.add_argument("--seed", type=int, help="seed of every random draw")
    parser.add_argument("--dry-run", action="store_true", help="validate, print config, partition, memory and arithmetic; write nothing")
    parser.add_argument("--overwrite", action="store_true", help="write into an output folder that holds results already")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table")
    parser.add_argument("--list-configs", action="store_true", help="names of the shipped configs")
    parser.add_argument("--version", action="version", version=f"varpro {__version__}")
    return parser.parse_args(argv)


def _check_backend(config: RunConfig) -> None:
    if config.backend == "cuda":
        raise BackendError("backend cuda is asked for, but this build trains on the CPU only; use --backend cpu or auto")


def _collectively(comm: Communicator, check: object) -> None:
    """Let rank 0 try; its error is everybody's."""
    error = None
    if comm.rank == 0:
        try:
            check()  # type: ignore[operator]
        except OutputError as caught:
            error = caught
    error = comm.bcast(error)
    if error is not None:
        raise error


def prepare_output(output: Path, *, overwrite: bool) -> None:
    """Make the output folder, or raise OutputError: it holds results already, or cannot be written."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"output {output} is a file, a folder is needed; choose another with --output")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise OutputError(f"output folder {output} exists and is not empty; choose another with --output, or add --overwrite")
    probe = output / f".varpro-{os.getpid()}"
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"output folder {output} cannot be written ({error.strerror}); choose another with --output") from None


def describe(config: RunConfig, dataset: DataSet, n_train: int, ranks: int, threads: int) -> str:
    """The resolved config and what the run will take, for --dry-run."""
    n_images = len(dataset.train) + len(dataset.test)
    p = plan(config, dataset.shape, n_train, n_images, dataset.n_classes, ranks, threads)
    held = dataset.split(config.data.validation, config.data.train, config.data.test)
    lines = [
        yaml.safe_dump(config.as_dict(), sort_keys=False).rstrip(),
        "",
        f"data          {dataset.name}: {len(held.train)} train, {len(held.validation)} validation, {len(held.test)} test; "
        f"{dataset.n_classes} classes; images {dataset.shape[0]} x {dataset.shape[1]} x {dataset.shape[2]}",
        f"ranks         {ranks}, {threads} threads each",
    ]
    if config.subnetworks:
        lines += [
            f"partition     {config.subnetworks} sub-networks x {config.units} units, {config.samples} images each",
            f"              about {config.subnetworks / ranks:.1f} sub-networks a rank, taken as ranks become free",
        ]
    else:
        lines.append(f"partition     one network of {config.units} units, no sub-networks")
    lines += [
        f"parameters    {p.nonlinear} nonlinear ({p.parameters_per_unit:g} a unit), {p.linear} linear",
        f"arithmetic    {p.subnetwork_gflop:.0f} GFLOP at most for the sub-networks, {p.glue_gflop:.0f} for each glueing",
        f"memory        about {p.rank_gigabytes:.2f} GB a rank",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
