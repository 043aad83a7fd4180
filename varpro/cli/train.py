"""varpro-train: run a config, alone or under mpirun, and leave a folder that tells what came of it."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from varpro import __version__
from varpro.cli import require_modules
from varpro.cli._guard import ArgumentParser, run
from varpro.distributed import Communicator

PROGRAM = "varpro-train"
MODULES = ("yaml", "pydantic", "h5py", "pooch", "matplotlib", "jinja2", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 2 for a mistake of the user's, 1 for one of ours."""
    return run(PROGRAM, lambda comm: _main(comm, argv))


def _main(comm: Communicator, argv: Sequence[str] | None) -> int:
    options = _parse(comm, argv)
    require_modules(PROGRAM, MODULES)
    from varpro.cli._train_job import run_job

    return run_job(comm, options)


def _parse(comm: Communicator, argv: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(
        comm,
        prog=PROGRAM,
        description="Train a scalarized network by variable projection.",
        epilog="Under mpirun every rank trains sub-networks: mpirun -n 8 varpro-train mnist.yaml",
    )
    add = parser.add_argument
    add("config", nargs="?", help="a YAML file, or the name of a shipped config (see --list-configs)")
    add("--data", type=Path, metavar="DIR", help="folder of the data sets (else $VARPRO_DATA, ./data, the cache)")
    add("--output", metavar="DIR", help="folder for the results (default runs/<config>)")
    add("--backend", choices=("auto", "cpu", "cuda"), help="where to compute")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a config key; repeatable")
    add("--seed", type=int, metavar="N", help="seed of every random draw")
    add("--dry-run", action="store_true", help="validate, print config, partition, memory, arithmetic; write nothing")
    add("--overwrite", action="store_true", help="write into an output folder that holds results already")
    add("--quiet", action="store_true", help="no progress, no table")
    add("--list-configs", action="store_true", help="names of the shipped configs")
    add("--version", action="version", version=f"varpro {__version__}")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
