"""What varpro-train does, in an order that reports mistakes before anything long begins."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from varpro.cli._dry_run import describe
from varpro.cli._output import output_folder, unwritable
from varpro.config.file import list_configs
from varpro.config.layered import LayeredConfig
from varpro.config.training import load_config
from varpro.distributed import Communicator
from varpro.errors import ConfigError
from varpro.report.progress import make_display
from varpro.train.data.prepared import prepare
from varpro.train.job import C, Job, N
from varpro.train.layered.job import LayeredJob
from varpro.train.scalarized.job import ScalarizedJob


def run_job(comm: Communicator, options: Namespace) -> int:
    """Exit code of a run with the options of the command line.  Collective; raises VarproError."""
    if options.list_configs:
        if comm.rank == 0:
            print("\n".join(list_configs()))
        return 0
    if options.config is None:
        raise ConfigError(f"which config? name a file or one of {', '.join(list_configs())}; see `varpro-train --help`")
    config = load_config(options.config, options.set, seed=options.seed, backend=options.backend, output=options.output)
    job: Job[Any, Any] = LayeredJob(config, comm) if isinstance(config, LayeredConfig) else ScalarizedJob(config, comm)
    job.choose_device()
    if options.dry_run:
        prepared = prepare(config, comm, options.data)
        if comm.rank == 0:
            print(describe(job, prepared))
        return 0
    job.require_backend()
    with output_folder(comm, Path(config.output or "runs"), overwrite=options.overwrite) as output:
        _train(job, options, output)
    return 0


def _train(job: Job[C, N], options: Namespace, output: Path) -> None:
    """Load, train, write; only rank 0 has something to write."""
    prepared = prepare(job.config, job.comm, options.data)
    with make_display(quiet=options.quiet, first_rank=job.comm.rank == 0) as display:
        found = job.train(prepared, display)
        if found is None:
            return
        from varpro.report.outputs import write_outputs
        from varpro.report.screen import print_summary

        record, network = found
        try:
            job.save(output / "model.h5", network, prepared)
            write_outputs(record, output)
        except OSError as error:  # a full disk, or a folder that has disappeared
            raise unwritable(output, error) from error
    if not options.quiet:
        print_summary(record, output)
