"""varpro-fit: fit a named model to a file of data, one curve or many, alone or under mpirun."""

from argparse import Namespace
from collections.abc import Sequence

from varpro import __version__
from varpro.cli import require_modules
from varpro.cli._guard import ArgumentParser, run
from varpro.distributed import Communicator

PROGRAM = "varpro-fit"
MODULES = ("yaml", "pydantic", "h5py", "matplotlib", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 2 for a mistake of the user's, 1 for one of ours."""
    return run(PROGRAM, lambda comm: _main(comm, argv))


def _main(comm: Communicator, argv: Sequence[str] | None) -> int:
    options = _parse(comm, argv)
    require_modules(PROGRAM, MODULES)
    from varpro.cli._fit_job import run_job

    return run_job(comm, options)


def _parse(comm: Communicator, argv: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(
        comm,
        prog=PROGRAM,
        description="Fit a separable model: its amplitudes are eliminated, only what is nonlinear is searched.",
        epilog="Under mpirun the fits of a batch are split over the ranks: mpirun -n 8 varpro-fit flim.yaml flim.h5",
    )
    add = parser.add_argument
    add("config", help="a YAML file with the model, for example model: [{kind: exponentials, n: 2}]")
    add("data", help="a .csv, .tsv, .txt, .dat, .npz or .h5 file; y (N,), (N, K) or a batch (B, N), (H, W, N)")
    add("--output", metavar="DIR", help="folder for the results (default runs/<config>)")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a config key; repeatable")
    add("--dry-run", action="store_true", help="validate, print config, data and starting values; write nothing")
    add("--overwrite", action="store_true", help="write into an output folder that holds results already")
    add("--quiet", action="store_true", help="no progress, no table")
    add("--version", action="version", version=f"varpro {__version__}")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
