"""What varpro-data does."""

from argparse import Namespace

from varpro.cli._output import require_file
from varpro.distributed import Communicator
from varpro.errors import ConfigError, OutputError
from varpro.report.progress import make_display
from varpro.train.data.convert import Plan, convert
from varpro.train.data.source_files import Columns, open_source


def run_job(comm: Communicator, options: Namespace) -> int:
    """Exit code of a conversion with the options of the command line.  Raises VarproError."""
    output = options.output
    if output.suffix not in (".h5", ".hdf5"):
        raise OutputError(f"{output}: the file is HDF5; give it the ending .h5")
    read = (options.source, options.labels, options.test, options.test_labels)
    require_file(str(output), output, *read, overwrite=options.overwrite)
    columns = Columns(options.label_column, _shape(options.shape))
    train = open_source(options.source, options.labels, columns)
    test = open_source(options.test, options.test_labels, columns) if options.test else None
    plan = Plan.of(train, test)
    rows = sum(len(order) for _, order in (plan.train, plan.test))
    with make_display(quiet=options.quiet, first_rank=True) as display:
        display.phase(f"converting {options.source.name}", rows)
        convert(plan, output, lambda n: display.advance(n=n), overwrite=options.overwrite)
    if not options.quiet:
        print(f"{rows} images of {len(plan.class_names)} classes -> {output}")
    return 0


def _shape(text: str | None) -> tuple[int, ...] | None:
    """(3, 32, 32) of 3x32x32.  Raises ConfigError."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"--shape {text}: rows x columns, or planes x rows x columns, such as 28x28 or 3x32x32")
    return tuple(map(int, parts))
