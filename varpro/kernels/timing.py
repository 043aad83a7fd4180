"""A kernel compared with its reference and with the limits of the machine: cases, their times and their rates."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from varpro.arrays import Array

Result = Sequence[Array]


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel on one shape.  `run` and `reference` return the same arrays, in the same order."""

    kernel: str
    """The stem: scalarize, gauss_newton, ..."""
    name: str
    shape: dict[str, int]
    dtype: str
    """The dtype of the largest array: float32 or float64."""
    run: Callable[[], Result]
    reference: Callable[[], Result]
    tolerance: float
    """The largest |run - reference| allowed, over the largest |reference|, for each array."""
    gflop: float
    gigabytes: float
    """The memory traffic if every array is read or written once."""
    arithmetic_dtype: str = ""
    """The precision of the arithmetic, which selects the peak to compare with; `dtype` by default."""
    valid: Callable[[Array], Array] = np.asarray
    """The part of an array that is compared: np.tril if only a triangle is set."""

    def error(self) -> float:
        """The largest relative difference from the reference; infinite if a shape differs or a value is NaN."""
        worst = 0.0
        for ours, theirs in zip(self.run(), self.reference(), strict=True):
            ours, theirs = self.valid(ours), self.valid(theirs)
            if ours.shape != theirs.shape or not np.isfinite(ours).all():
                return np.inf
            scale = float(np.abs(theirs).max(initial=0.0)) or 1.0
            worst = max(worst, float(np.abs(ours - theirs).max(initial=0.0)) / scale)
        return worst


def rounding(dtype: str, terms: int) -> float:
    """Tolerance for sums of so many terms: 8 eps times the number of terms, eight times the worst that rounding can
    do."""
    return 8 * float(np.finfo(dtype).eps) * max(terms, 8)


@dataclass(frozen=True, slots=True)
class Peaks:
    """The peaks of this machine on one thread, measured in this process."""

    float64: float
    """GFLOP/s of a square matrix product."""
    float32: float
    memory: float
    """GB/s of copying arrays that fit in no cache, counting reads and writes."""


@dataclass(frozen=True, slots=True)
class Record:
    """A timed case.  share_of_peak is the least time that the machine's limits allow, over the median."""

    kernel: str
    name: str
    shape: dict[str, int]
    dtype: str
    error: float
    tolerance: float
    median_s: float
    spread_s: float
    """The distance between the quartiles."""
    fastest_s: float
    rate: float
    unit: str
    """GFLOP/s if arithmetic is the bound, GB/s if memory is."""
    bound: str
    """The bound: arithmetic or memory."""
    share_of_peak: float

    def as_dict(self) -> dict[str, object]:
        """The record in plain numbers and strings."""
        return asdict(self)


class WrongResult(Exception):
    """A kernel that disagrees with its reference; it is not timed."""


def measure(case: Case, peaks: Peaks, *, seconds: float) -> Record:
    """Check a case against its reference, then repeat it for about `seconds`.  Raises WrongResult."""
    error = case.error()
    if not error <= case.tolerance:
        raise WrongResult(
            f"{case.kernel}, {case.name}, {case.dtype}: off by {error:.1e} from its reference, "
            f"limit {case.tolerance:.1e}"
        )
    times = repeat(case.run, seconds=seconds)
    median = statistics.median(times)
    arithmetic = case.gflop / getattr(peaks, case.arithmetic_dtype or case.dtype)
    memory = case.gigabytes / peaks.memory
    bound = "arithmetic" if arithmetic >= memory else "memory"
    quartiles = statistics.quantiles(times, n=4)
    return Record(
        kernel=case.kernel,
        name=case.name,
        shape=case.shape,
        dtype=case.dtype,
        error=error,
        tolerance=case.tolerance,
        median_s=median,
        spread_s=quartiles[2] - quartiles[0],
        fastest_s=min(times),
        rate=(case.gflop if bound == "arithmetic" else case.gigabytes) / median,
        unit="GFLOP/s" if bound == "arithmetic" else "GB/s",
        bound=bound,
        share_of_peak=max(arithmetic, memory) / median,
    )


def repeat(run: Callable[[], object], *, seconds: float, least: int = 5) -> list[float]:
    """Times of run() after one uncounted run: at least `least`, more while they fit into `seconds`."""
    run()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < until and len(times) < 1000):
        clock = time.perf_counter()
        run()
        times.append(time.perf_counter() - clock)
    return times


def measured_peaks(*, seconds: float) -> Peaks:
    """Best of several matrix products in both precisions, and of several copies."""
    rates = []
    for dtype in (np.float64, np.float32):
        a = np.ones((1024, 1024), dtype=dtype)
        out = np.empty_like(a)
        rates.append(2 * 1024**3 / _fastest(partial(np.matmul, a, a, out=out), seconds))
    source = np.ones(16 << 20)
    target = np.empty_like(source)
    copy = 2 * source.nbytes / _fastest(lambda: np.copyto(target, source), seconds)
    return Peaks(float64=1e-9 * rates[0], float32=1e-9 * rates[1], memory=1e-9 * copy)


def _fastest(run: Callable[[], object], seconds: float) -> float:
    return min(repeat(run, seconds=seconds))


def select(cases: Iterable[Case], words: list[str]) -> list[Case]:
    """Cases whose stem or name contains one of the words; all if there are no words."""
    return [c for c in cases if not words or any(word in f"{c.kernel} {c.name}" for word in words)]
