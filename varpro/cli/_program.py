"""What all programs share: options, their guard, and imports that wait until the options have been read."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from varpro import __version__
from varpro.cli._guard import ArgumentParser, run
from varpro.distributed import Communicator
from varpro.errors import BackendError

Add = Callable[..., object]
"""argparse's add_argument"""


@dataclass(frozen=True)
class Program:
    """A program by name: its options, the modules it needs, and the module whose `run_job(comm, options)` does the
    work."""

    name: str
    description: str
    arguments: Callable[[Add], None]
    job: str
    modules: Sequence[str]
    epilog: str | None = None
    first_rank_only: bool = False
    """Whether the other ranks have nothing to do."""
    survives: bool = False
    """Whether a run that has lost a rank goes on with the others, where the MPI allows it."""

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Entry point; returns the exit code: 0, 2 for a mistake by the user, 1 for one of ours."""
        return run(self.name, lambda comm: self._main(comm, argv), survives=self.survives)

    def _main(self, comm: Communicator, argv: Sequence[str] | None) -> int:
        parser = ArgumentParser(comm, prog=self.name, description=self.description, epilog=self.epilog)
        self.arguments(parser.add_argument)
        parser.add_argument("--version", action="version", version=f"varpro {__version__}")
        options = parser.parse_args(argv)
        if self.first_rank_only and comm.rank > 0:
            return 0
        _require_modules(self.name, self.modules)
        run_job: Callable[[Communicator, Namespace], int] = import_module(self.job).run_job
        return run_job(comm, options)


def _require_modules(program: str, names: Sequence[str]) -> None:
    """Raise BackendError if a module that a program needs is not installed; `import varpro` alone needs none."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise BackendError(f"{program} needs {', '.join(missing)}, not installed here; pip install 'varpro[train]'")


def job_arguments(add: Add, *, shown: str) -> None:
    """The options of every program that computes and writes a folder; shown : what --dry-run prints besides the
    config."""
    add("--output", metavar="DIR", help="folder for the results (default runs/<config>)")
    add("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a config key; repeatable")
    add("--dry-run", action="store_true", help=f"validate, print config, {shown}; write nothing")
    add("--overwrite", action="store_true", help="write into an output folder that holds results already")
    add("--quiet", action="store_true", help="no progress, no table")


def data_argument(add: Add) -> None:
    """The option for where to look for data sets."""
    add("--data", type=Path, metavar="DIR", help="folder of the data sets (else $VARPRO_DATA, ./data, the cache)")
