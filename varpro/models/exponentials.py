"""Sums of decays: phi_i = exp(-t / tau_i) or exp(-k_i t), bare or seen through an instrument."""

from dataclasses import KW_ONLY, dataclass, field

import numpy as np
import scipy

from varpro.arrays import Array
from varpro.errors import ConfigError, ShapeError
from varpro.models.guesses import Signal, best_start
from varpro.models.pencil import distinct, pencil_rates, selected_rates
from varpro.models.quantities import RATE, TIME
from varpro.models.ready import MODELS
from varpro.models.repeated import Repeated
from varpro.models.separable import Column

STEP_TOLERANCE = 1e-3
"""Relative difference of two steps of t up to which a convolution accepts t as equidistant, so that rounded time
stamps pass."""
IRF_MASS = 0.999
"""Share of the instrument's response after which `guess` takes the data for pure decay."""


@MODELS.register("exponentials")
@dataclass(frozen=True, eq=False)
class Exponentials(Repeated):
    """phi_i = exp(-t / tau_i), i = 1..n; w = (tau_1, ..., tau_n) in the unit of t.

    rates : phi_i = exp(-k_i t) instead; w = (k_1, ..., k_n) in 1 / unit of t.  Well defined at k = 0.
    offset : append a column of ones.
    convolve : irf (N,), an instrument response on the same equidistant t; then column i is
        sum_{m <= n} irf_m phi_i(t_{n-m}), n = 0..N-1 in the order of rising t, and the offset stays a column of ones.
    Holomorphic in w (tau != 0).  `guess` by the matrix pencil and a grid search: positive, distinct, ascending.
    Raises ConfigError for n < 1 or an irf that is not a finite vector, ShapeError for t that does not fit the irf.
    """

    n: int
    _: KW_ONLY
    offset: bool = False
    rates: bool = False
    convolve: Array | None = field(default=None, repr=False)
    column_stems = ("exp",)
    quantities = {"tau": TIME, "k": RATE}  # noqa: RUF012 (of the class, as its base says)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.convolve is None:
            return
        irf = np.array(self.convolve, dtype=float)
        if irf.ndim != 1 or not irf.size or not np.all(np.isfinite(irf)):
            raise ConfigError(f"convolve has shape {irf.shape}; it must be a finite vector of the length of t")
        object.__setattr__(self, "convolve", irf)

    @property
    def parameter_stems(self) -> tuple[str, ...]:
        return ("k",) if self.rates else ("tau",)

    def shape(self, t: Array, *v: Array) -> tuple[Array, ...]:
        (w,) = v
        return (self._seen(t, np.exp(-w * t) if self.rates else np.exp(-t / w)),)

    def slopes(self, t: Array, *v: Array) -> tuple[Array, ...]:
        (w,) = v
        return (self._seen(t, -t * np.exp(-w * t) if self.rates else t / w**2 * np.exp(-t / w)),)

    def _seen(self, t: Array, decay: Array) -> Array:
        """The decay as seen through the instrument."""
        if self.convolve is None:
            return decay
        irf = self.convolve.astype(decay.real.dtype).reshape(*[1] * (decay.ndim - 1), -1)
        self._check(t, irf.shape[-1])
        rising = _rising(t)  # what is seen comes after what happens
        irf, decay = irf[..., rising], decay[..., rising]
        parts = [decay.real, decay.imag] if np.iscomplexobj(decay) else [decay]
        # separately, since a complex FFT would round a complex step's small imaginary part to the size of the real one
        seen = [scipy.signal.fftconvolve(part, irf, axes=-1)[..., : t.shape[-1]][..., rising] for part in parts]
        return seen[0] if len(seen) == 1 else seen[0] + 1j * seen[1]

    def _check(self, t: Array, length: int) -> None:
        if t.shape[-1] != length:
            raise ShapeError(f"t has {t.shape[-1]} points, convolve has {length}; both need the same")
        steps = np.diff(t)
        if steps.size and np.any(np.ptp(steps, axis=-1) > STEP_TOLERANCE * np.abs(steps).max(axis=-1)):
            raise ShapeError(f"steps of t go from {steps.min():g} to {steps.max():g}; convolve needs an equidistant t")
        if (steps > 0).any() and (steps < 0).any():
            raise ShapeError("t rises in some problems and falls in others; convolve needs one order for all")

    def program(self) -> tuple[Column, ...] | None:
        return None if self.convolve is not None else self._program("rate" if self.rates else "decay")

    @property
    def needs_grid(self) -> bool:
        return self.convolve is not None

    def propose(self, x: Array, y: Array) -> Array:
        signal = Signal.of(x, y)
        tails = self._tails(signal, x)
        found = [distinct(pencil_rates(part, self.n, self.offset), self.n, signal) for part in tails]
        found.append(distinct(selected_rates(self._dictionary, x, y, self.n, self.offset, signal), self.n, signal))
        return best_start(self, x, y, [np.sort(k if self.rates else 1.0 / k) for k in found])

    def _dictionary(self, t: Array, k: Array) -> tuple[Array, Array]:
        """The columns for many rates k, and those without a parameter."""
        (phi,) = self.shape(t, (k if self.rates else 1.0 / k)[:, None])
        return phi.T, np.ones((len(t), int(self.offset)))

    def _tails(self, signal: Signal, x: Array) -> list[Signal]:
        """The data after the instrument's response: all of them, their first quarter and their first sixteenth."""
        first = 0
        if self.convolve is not None:
            mass = np.cumsum(np.abs(self.convolve[_rising(x)]))
            behind = min(int(np.searchsorted(mass, IRF_MASS * mass[-1])), len(x) - 1)
            first = int(np.searchsorted(signal.t, x[_rising(x)][behind]))  # rows may be missing before it
        tail = signal.rows(first) if signal.size - first >= 4 * (self.n + 1) else signal
        return [tail.rows(0, tail.size // part) for part in (1, 4, 16) if tail.size // part >= 4 * (self.n + 1)]


def _rising(t: Array) -> slice:
    """The rows of an equidistant t (..., N) in rising order."""
    one = t[(0,) * (t.ndim - 1)]
    return slice(None, None, -1 if len(one) and one[-1] < one[0] else 1)
