"""The posterior of a separable model: only w walks, the amplitudes A and the noise sigma are integrated out.

With flat priors on w, A and log sigma, n values and r = rank(Phi) K amplitudes,

    p(w | y) ~ |Phi^T Phi|^(-K/2) S(w)^(-(n - r)/2),          S = ||(I - Q Q^T) Y||^2
    p(w | y) ~ |Phi^T Phi|^(-K/2) exp(-S(w) / 2)              for known errors, sigma = 1
    S / sigma^2 ~ chi^2(n - r),   A = R^-1 (Q^T Y + sigma e)  given w;   Phi = Q R

Bretthorst, Bayesian Spectrum Analysis and Parameter Estimation (1988), chapter 3.  Goodman and Weare, Commun. Appl.
Math. Comput. Sci. 5 (2010) 65-80.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError, at_least
from varpro.fitting.draws import Draws
from varpro.fitting.export import need
from varpro.fitting.refits import columns_and_rows, many_of, require_minimum
from varpro.fitting.spec import Spec

if TYPE_CHECKING:
    from varpro.fitting.result import FitResult

SPREAD = 0.1
"""Standard deviations of the cloud in which the walkers begin, in units of the fit's errors."""


@dataclass(frozen=True)
class Posterior(Draws):
    """Draws from the posterior."""

    sigma: Array = field(repr=False)
    """(m,) the standard deviation of a residual of weight 1; ones for known errors."""
    acceptance: float = np.nan
    """The share of proposals that were accepted; 0.2 to 0.7 is usual, the more parameters the less."""
    autocorrelation: float = np.nan
    """The longest autocorrelation time in steps; the draws are worth m / autocorrelation independent ones."""

    def _headline(self) -> str:
        return (
            f"{len(self)} draws from the posterior, {100 * self.acceptance:.0f} % accepted, "
            f"autocorrelation over {self.autocorrelation:.0f} steps"
        )


class LogPosterior:
    """log p(w | y) up to a constant, for many points at once; -inf outside the bounds and where Phi is not finite."""

    def __init__(self, spec: Spec, *, known: bool) -> None:
        self.spec, self.known = spec, known
        self.values = int(spec.data.valid[0]) * spec.parts

    def __call__(self, u: Array) -> Array:
        """(m,) for free parameters u (m, F)."""
        return self._factored(u)[0]

    def _factored(self, u: Array) -> tuple[Array, Array, Array, Array]:
        """(m,) the logarithm; Q^T Y (m, I', K), R (m, I', I'), S (m,)."""
        names = self.spec.names
        inside: Array = np.asarray(np.isfinite(u).all(axis=1))
        inside &= (u >= names.lower).all(axis=1) & (u <= names.upper).all(axis=1)
        phi, y = columns_and_rows(self.spec, np.clip(u, names.lower, names.upper))
        inside &= np.isfinite(phi).all(axis=(1, 2))
        q, r = np.linalg.qr(np.where(inside[:, None, None], phi, 0.0))
        part = q.mT @ y
        s = np.sum((y - q @ part) ** 2, axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            volume = y.shape[1] * np.log(np.abs(np.einsum("mii->mi", r))).sum(axis=1)
            free = self.values - r.shape[1] * y.shape[1]
            unit = self.spec.data.weight_unit**2
            log = -volume - (0.5 * s * unit if self.known else 0.5 * free * np.log(s))
        return np.where(inside & np.isfinite(log), log, -np.inf), part, r, s

    def amplitudes(self, u: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """(m, I', K) amplitudes and (m,) sigmas drawn for each point, in units of the spec's weights."""
        _, part, r, s = self._factored(u)
        free = self.values - part.shape[1] * part.shape[2]
        sigma = np.full(len(u), 1.0 / self.spec.data.weight_unit)
        if not self.known:
            sigma = np.sqrt(s / rng.chisquare(free, size=len(u)))
        noise = sigma[:, None, None] * rng.standard_normal(part.shape)
        return np.linalg.solve(r, part + noise), sigma


def sampled(
    fit: "FitResult", steps: int, *, walkers: int | None, discard: int | None, seed: int, progress: bool
) -> Posterior:
    """See FitResult.sample."""
    require_minimum(fit, "sampling")
    at_least("steps", steps, 1)
    at_least("seed", seed, 0)
    for name, value in (("walkers", walkers), ("discard", discard)):
        if value is not None:
            at_least(name, value, 0)
    solution = fit._solution
    spec, left_out = solution.spec, steps // 4 if discard is None else discard
    if spec.ridged or spec.separate or solution.loss != "linear":
        raise ConfigError("sampling needs free amplitudes without a ridge, common weights and loss='linear'")
    if not 0 <= left_out < steps:
        raise ConfigError(f"discard is {left_out} of {steps} steps; it needs to leave some")
    u, size = solution.u[0], len(solution.u[0])
    count = max(16, 4 * size) if walkers is None else walkers
    if count < 2 * size:
        raise ConfigError(f"walkers is {count}; {size} nonlinear parameters need {2 * size} or more")
    error = np.sqrt(np.diagonal(fit._statistics.uncertainty.nonlinear[0]) * fit._statistics.variance[0])
    if not (np.isfinite(error) & (error > 0)).all():
        raise ConfigError("sampling needs errors of all parameters; one is on a bound, or the data do not determine it")
    emcee, rng = need("emcee"), np.random.default_rng(seed)
    posterior = LogPosterior(many_of(spec, solution.u, count), known=fit.absolute_sigma)
    start = u + SPREAD * error * rng.standard_normal((count, size))
    start = np.clip(start, np.nextafter(spec.names.lower, np.inf), np.nextafter(spec.names.upper, -np.inf))
    sampler = emcee.EnsembleSampler(count, size, posterior, vectorize=True)
    sampler.random_state = np.random.RandomState(seed).get_state()
    sampler.run_mcmc(start, steps, progress=progress)
    chain = sampler.get_chain(discard=left_out, flat=True)
    a, sigma = posterior.amplitudes(chain, rng)
    w = spec.basis.w(chain, np.zeros(len(chain), dtype=int))
    return Posterior(
        fit.names,
        fit.linear_names,
        w,
        spec.coefficients(a)[:, : spec.n_amplitudes],
        sigma=sigma * spec.data.weight_unit,
        acceptance=float(np.mean(sampler.acceptance_fraction)),
        autocorrelation=float(np.max(sampler.get_autocorr_time(discard=left_out, quiet=True, tol=0))),
    )
