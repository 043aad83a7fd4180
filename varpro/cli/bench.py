"""`varpro-bench`: time every kernel against this machine's limits, each checked against its reference first."""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from varpro import __version__
from varpro.cli._guard import ArgumentParser, run
from varpro.distributed import Communicator, SerialCommunicator
from varpro.errors import ConfigError, unwritable
from varpro.kernels.timing import Case, Peaks, Record, WrongResult, measure, measured_peaks, select

PROGRAM = "varpro-bench"
STEMS = (
    "scalarize",
    "convolve",
    "jacobian_products",
    "gauss_newton",
    "projector",
    "gram",
    "few_rows",
    "small_fits",
    "class_moments",
    "inward_scale",
    "softmax_divergence",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0, 1 when a kernel is wrong, 2 for a mistake in the arguments."""
    return run(PROGRAM, lambda comm: _main(comm, argv), SerialCommunicator())


def _main(comm: Communicator, argv: Sequence[str] | None) -> int:
    options = _parse(comm, argv)
    from varpro.distributed.threads import blas_threads

    _check_writable(options.json)
    with blas_threads(1):
        chosen = select(_cases(options.quick), options.kernel)
        if not chosen:
            raise ConfigError(f"no kernel is called {' or '.join(options.kernel)}: there are {', '.join(STEMS)}")
        seconds = 0.05 if options.quick else options.seconds
        peaks = measured_peaks(seconds=seconds)
        _say(
            f"{platform.machine()}, one thread: matrix product {peaks.float64:.1f} GFLOP/s in float64, "
            f"{peaks.float32:.1f} in float32; copy {peaks.memory:.1f} GB/s"
        )
        _say(HEADER)
        records: list[Record] = []
        wrong = 0
        for case in chosen:
            try:
                records.append(measure(case, peaks, seconds=seconds))
                _say(_line(records[-1]))
            except WrongResult as error:
                wrong += 1
                print(f"varpro-bench: WRONG: {error}", file=sys.stderr, flush=True)
    if options.json:
        options.json.write_text(json.dumps(_document(peaks, records), indent=1) + "\n")
    return 1 if wrong else 0


def _parse(comm: Communicator, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(comm, prog=PROGRAM, description=__doc__)
    parser.add_argument(
        "kernel", nargs="*", help=f"a kernel, or a word of a case's name: {', '.join(STEMS)} (default: all)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the records to FILE, too")
    parser.add_argument("--quick", action="store_true", help="small shapes, a few repetitions: a check that all works")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for the repetitions of a case (default: 1)")
    parser.add_argument("--version", action="version", version=f"varpro {__version__}")
    return parser.parse_args(argv)


def _check_writable(path: Path | None) -> None:
    """Check before minutes of timing, not after."""
    if path is None:
        return
    try:
        path.touch()
    except OSError as error:
        raise unwritable(str(path), error, "give --json another path") from error


def _cases(quick: bool) -> list[Case]:
    return [case for stem in STEMS for case in import_module(f"varpro.kernels.{stem}.bench").cases(quick)]


def _document(peaks: Peaks, records: list[Record]) -> dict[str, object]:
    return {
        "version": __version__,
        "machine": platform.machine(),
        "threads": 1,
        "peaks": {"float64_gflops": peaks.float64, "float32_gflops": peaks.float32, "memory_gbs": peaks.memory},
        "kernels": [record.as_dict() for record in records],
    }


HEADER = f"{'kernel':18} {'case':36} {'shape':38} {'dtype':8} {'median':>10} {'spread':>9} {'rate':>15} {'of peak':>8}"


def _line(record: Record) -> str:
    shape = " ".join(f"{name}={size}" for name, size in record.shape.items())
    return (
        f"{record.kernel:18} {record.name:36} {shape:38} {record.dtype:8} {1e3 * record.median_s:7.3f} ms "
        f"{1e3 * record.spread_s:6.3f} ms {record.rate:7.1f} {record.unit:7} {record.share_of_peak:7.0%}"
    )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
