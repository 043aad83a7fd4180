"""What varpro-train does, in an order that reports mistakes before anything long begins."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from varpro.cli._dry_run import describe
from varpro.cli._logging import logging_to
from varpro.cli._output import ELSEWHERE, output_folder
from varpro.cli._session import MODEL, Session, locked, stop_of
from varpro.config.file import list_configs
from varpro.config.layered import LayeredConfig
from varpro.config.training import load_config
from varpro.distributed import Communicator, Paused
from varpro.errors import ConfigError, unwritable
from varpro.report.progress import Display
from varpro.report.trace import Traced, require_target
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
    stop = stop_of(options, comm)
    resume = options.resume or ("auto" if comm.lost else "")
    job.choose_device()
    if options.dry_run:
        prepared = prepare(config, comm, options.data)
        if comm.rank == 0:
            print(describe(job, prepared))
        return 0
    job.require_backend()
    if options.trace is not None and comm.rank == 0:
        require_target(options.trace)
    trace = None if options.trace is None else Traced(Display(), comm)
    try:
        with (
            stop.listening(),
            output_folder(comm, Path(config.output or "runs"), overwrite=options.overwrite, resume=resume) as output,
            locked(comm, output) as lock,
            logging_to(options.log_file, options.log_level, first_rank=comm.rank == 0),
        ):
            _train(job, options, Session(output, stop, lock, resume, options.quiet, trace=trace))
    except Paused:  # on every rank
        _write_trace(trace, options)
        raise
    _write_trace(trace, options)
    return 0


def _write_trace(trace: Traced | None, options: Namespace) -> None:
    """After the run has given back its lock and its signals, since a pipe may not be read."""
    if trace is not None:
        trace.write(options.trace)


def _train(job: Job[C, N], options: Namespace, session: Session) -> None:
    """Load, train, write; only rank 0 has something to write."""
    with session.spanned("read data"):
        prepared, output = prepare(job.config, job.comm, options.data), session.output
    if not session.begin(job, prepared):
        if job.comm.rank == 0 and not options.quiet:
            print(f"the run in {output} has finished already; nothing is left to do")
        return
    with session.shown() as display:
        found = job.train(prepared, display)
        if found is None:
            return
        from varpro.report.outputs import write_outputs
        from varpro.report.screen import print_summary

        record, network = found
        try:
            with session.spanned("write results"):
                job.save(output / MODEL, network, prepared)
                write_outputs(record, output)
                session.finish()
        except OSError as error:  # a full disk, or a folder that has disappeared
            raise unwritable(f"output folder {output}", error, ELSEWHERE, resume="continue with --resume") from error
    if not options.quiet:
        print_summary(record, output)
