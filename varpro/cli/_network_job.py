"""What varpro-train does with the config of a network: the same order, with PyTorch asked for only when it trains."""

import time
from argparse import Namespace
from pathlib import Path

from varpro.cli._network_dry_run import describe_network
from varpro.cli._output import output_folder, unwritable
from varpro.config.layered import LayeredConfig
from varpro.distributed import Communicator
from varpro.report.progress import make_display
from varpro.train.data.datasets import DataSet, Split, load_dataset
from varpro.train.layered.plan import NetworkPlan, check_with_data


def run_network_job(comm: Communicator, config: LayeredConfig, options: Namespace) -> int:
    """Exit code of a run with the options of the command line.  Collective; raises VarproError."""
    if options.dry_run:
        config, dataset, split, plan = _checked_data(comm, config, options.data)
        if comm.rank == 0:
            print(describe_network(config, dataset, split, plan, comm))
        return 0
    from varpro.train.layered.job import require_device, train_network  # BackendError without PyTorch

    require_device(config.device)
    with output_folder(comm, Path(config.output or "runs"), overwrite=options.overwrite) as output:
        clock = time.perf_counter()
        config, dataset, _, _ = _checked_data(comm, config, options.data)
        load_seconds = time.perf_counter() - clock
        with make_display(quiet=options.quiet, first_rank=comm.rank == 0) as display:
            outcome = train_network(config, comm, dataset=dataset, display=display, load_seconds=load_seconds)
            if outcome is None:
                return 0
            from varpro.report.network_outputs import write_network_outputs
            from varpro.report.screen import print_network_summary
            from varpro.train.layered.saved import save_trained

            record, network = outcome
            try:
                save_trained(output / "model.h5", network, dataset.class_names, dataset.name)
                write_network_outputs(record, output)
            except OSError as error:  # a full disk, a folder that went away
                raise unwritable(output, error) from error
        if not options.quiet:
            print_network_summary(record, output)
    return 0


def _checked_data(
    comm: Communicator, config: LayeredConfig, data_dir: Path | None
) -> tuple[LayeredConfig, DataSet, Split, NetworkPlan]:
    """The config with the labels that were found, the data set, its parts, the network."""
    dataset = load_dataset(config.data.source, data_dir, comm=comm, classes=config.data.classes)
    split = dataset.split(config.data.validation, config.data.train, config.data.test)
    plan = check_with_data(config, len(split.train), dataset.n_classes, dataset.shape)
    return config.with_classes(dataset.class_names) if dataset.own else config, dataset, split, plan
