"""What varpro-train does, in the order that tells a mistake before anything long begins."""

import os
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from varpro.cli._dry_run import describe
from varpro.config import RunConfig, check_partition, list_configs, load_config
from varpro.distributed import Communicator
from varpro.errors import BackendError, ConfigError, OutputError
from varpro.report.progress import make_display
from varpro.train.datasets import DataSet, Split, load_dataset


def run_job(comm: Communicator, options: Namespace) -> int:
    """Exit code of a run with the options of the command line.  Collective; raises VarproError."""
    if options.list_configs:
        if comm.rank == 0:
            print("\n".join(list_configs()))
        return 0
    if options.config is None:
        raise ConfigError(f"which config? name a file or one of {', '.join(list_configs())}; see `varpro-train --help`")
    config = load_config(options.config, options.set, seed=options.seed, backend=options.backend, output=options.output)
    _check_backend(config)
    if options.dry_run:
        dataset, split = _checked_data(comm, config, options.data)
        if comm.rank == 0:
            print(describe(config, dataset, split, comm))
        return 0
    with _output_folder(comm, Path(config.output or "runs"), overwrite=options.overwrite) as output:
        clock = time.perf_counter()
        dataset, _ = _checked_data(comm, config, options.data)
        return _train(comm, config, dataset, output, options.quiet, time.perf_counter() - clock)


def _checked_data(comm: Communicator, config: RunConfig, data_dir: Path | None) -> tuple[DataSet, Split]:
    dataset = load_dataset(config.data.source, data_dir, comm=comm)
    split = dataset.split(config.data.validation, config.data.train, config.data.test)
    check_partition(config, len(split.train), dataset.n_classes, dataset.shape)
    return dataset, split


def _check_backend(config: RunConfig) -> None:
    if config.backend == "cuda":
        raise BackendError("backend is cuda, but this build trains on the CPU only; use --backend cpu or auto")


@contextmanager
def _output_folder(comm: Communicator, output: Path, *, overwrite: bool) -> Iterator[Path]:
    """The folder, made and tried by rank 0, whose error is everybody's; taken away again if nothing came into it."""
    error, new = None, not output.exists()
    if comm.rank == 0:
        try:
            prepare_output(output, overwrite=overwrite)
        except OutputError as caught:
            error = caught
    error = comm.bcast(error)
    if error is not None:
        raise error
    try:
        yield output
    finally:
        if comm.rank == 0 and new:
            with suppress(OSError):  # it holds results
                output.rmdir()


def prepare_output(output: Path, *, overwrite: bool) -> None:
    """Make the output folder, or raise OutputError: it holds something already, or cannot be written."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"output {output} is a file, a folder is needed; choose another with --output")
    probe = output / f".varpro-{os.getpid()}"
    try:
        if not overwrite and output.is_dir() and any(output.iterdir()):
            raise OutputError(
                f"output folder {output} exists and is not empty; choose another with --output, or add --overwrite"
            )
        output.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise error if isinstance(error, OutputError) else _unwritable(output, error) from None


def _unwritable(output: Path, error: OSError) -> OutputError:
    reason = error.strerror or " ".join(str(error).split())
    return OutputError(f"output folder {output} cannot be written ({reason}); choose another with --output")


def _train(
    comm: Communicator, config: RunConfig, dataset: DataSet, output: Path, quiet: bool, load_seconds: float
) -> int:
    from varpro.report.outputs import write_outputs
    from varpro.report.screen import print_summary
    from varpro.train.storage import save_network
    from varpro.train.trainer import train

    with make_display(quiet=quiet, first_rank=comm.rank == 0) as display:
        outcome = train(config, comm, dataset=dataset, display=display, load_seconds=load_seconds)
        if outcome is None:
            return 0
        record, network = outcome
        try:
            save_network(output / "model.h5", network)
            write_outputs(record, output)
        except OSError as error:  # a full disk, a folder that went away
            raise _unwritable(output, error) from error
    if not quiet:
        print_summary(record, output)
    return 0
