"""What varpro-train does, in the order that tells a mistake before anything long begins."""

import time
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path

from varpro.arrays import Device
from varpro.cli._dry_run import describe
from varpro.cli._output import output_folder, unwritable
from varpro.config.file import list_configs
from varpro.config.layered import LayeredConfig
from varpro.config.scalarized import ScalarizedConfig, check_partition
from varpro.config.training import load_config
from varpro.distributed import Communicator
from varpro.errors import ConfigError
from varpro.report.progress import make_display
from varpro.train.data.datasets import DataSet, Split, load_dataset
from varpro.train.scalarized.backend import choose_device


def run_job(comm: Communicator, options: Namespace) -> int:
    """Exit code of a run with the options of the command line.  Collective; raises VarproError."""
    if options.list_configs:
        if comm.rank == 0:
            print("\n".join(list_configs()))
        return 0
    if options.config is None:
        raise ConfigError(f"which config? name a file or one of {', '.join(list_configs())}; see `varpro-train --help`")
    config = load_config(options.config, options.set, seed=options.seed, backend=options.backend, output=options.output)
    if isinstance(config, LayeredConfig):
        from varpro.cli._network_job import run_network_job

        return run_network_job(comm, config, options)
    device = choose_device(config, comm)
    if options.dry_run:
        config, dataset, split = _checked_data(comm, config, options.data)
        if comm.rank == 0:
            print(describe(config, dataset, split, comm, device))
        return 0
    with output_folder(comm, Path(config.output or "runs"), overwrite=options.overwrite) as output:
        clock = time.perf_counter()
        config, dataset, _ = _checked_data(comm, config, options.data)
        return _train(comm, config, device, dataset, output, options.quiet, time.perf_counter() - clock)


def _checked_data(
    comm: Communicator, config: ScalarizedConfig, data_dir: Path | None
) -> tuple[ScalarizedConfig, DataSet, Split]:
    """The config with the labels that were found, the data set and its parts."""
    dataset = load_dataset(config.data.source, data_dir, comm=comm, classes=config.data.classes)
    split = dataset.split(config.data.validation, config.data.train, config.data.test)
    check_partition(config, len(split.train), dataset.n_classes, dataset.shape)
    return config.with_classes(dataset.class_names) if dataset.own else config, dataset, split


def _train(
    comm: Communicator,
    config: ScalarizedConfig,
    device: Device | None,
    dataset: DataSet,
    output: Path,
    quiet: bool,
    load_seconds: float,
) -> int:
    from varpro.report.outputs import write_outputs
    from varpro.report.screen import print_summary
    from varpro.train.scalarized.storage import save_network
    from varpro.train.scalarized.trainer import train

    remedy = "lower glue.block_rows, units or samples, or use --backend cpu"
    full = device.told_when_full(remedy) if device else nullcontext()
    with make_display(quiet=quiet, first_rank=comm.rank == 0) as display, full:
        outcome = train(config, comm, dataset=dataset, display=display, device=device, load_seconds=load_seconds)
        if outcome is None:
            return 0
        record, network = outcome
        try:
            save_network(output / "model.h5", network)
            write_outputs(record, output)
        except OSError as error:  # a full disk, a folder that went away
            raise unwritable(output, error) from error
    if not quiet:
        print_summary(record, output)
    return 0
