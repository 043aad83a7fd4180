"""A kind of unit of our own: one filter on the left and on the right half of an image, so two columns per unit.

phi[n, 2 i + s] = sigma(<half s of X_n, F_i> + b_i),   parameters F_i and b_i: each moves both columns
"""

from dataclasses import dataclass, field

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.models.units import BoundUnits, Scalarization, UnitOptions, Units, UnitSize, option
from varpro.models.units.activation import slope


def _positive(value):
    if not value > 0:
        raise ValueError("needs a value > 0")
    return float(value)


@dataclass(frozen=True, kw_only=True)
class GainOptions(UnitOptions):
    gain: float = option(1.0, check=_positive)


@dataclass(frozen=True, eq=False)
class Halves(Units):
    """w is (I, C L R / 2 + 1): F_i, b_i, unit after unit."""

    gain: Array = field(default_factory=lambda: np.ones(1))
    kind = "halves"
    Options = GainOptions
    columns_per_unit = 2

    @classmethod
    def create(cls, shape, count, rng, options=None):
        return cls(shape, count, np.array([(options or GainOptions()).gain]))

    @classmethod
    def check(cls, shape, options):
        if shape[2] % 2:
            raise ConfigError(f"model.unit is halves, but the images have {shape[2]} columns; crop one")

    @classmethod
    def size_of_one(cls, shape, options):
        return UnitSize(shape[0] * shape[1] * shape[2] // 2 + 1, shape[0] * shape[1] * shape[2], columns=2)

    @property
    def size(self):
        return self.shape[0] * self.shape[1] * self.shape[2] // 2 + 1

    @property
    def n_parameters(self):
        return self.count * self.size

    def start(self, rng, images):
        w = self.gain * rng.standard_normal((self.count, self.size)) / np.sqrt(self.size)
        w[:, -1] = 0.0
        return w.ravel()

    def halves(self, images):
        """(n, 2, size): pixels of each half, then 1 for the bias."""
        width = self.shape[2] // 2
        both = np.stack([images[..., :width], images[..., width:]], axis=1).reshape(len(images), 2, -1)
        return np.concatenate([both, np.ones((len(images), 2, 1))], axis=2)

    def at(self, w, sigma, dtype=np.float64):
        return _At(self, w, sigma, dtype)

    def bind(self, images, sigma):
        return _Bound(self, images, sigma)

    def blocks(self):
        return [np.arange(self.n_parameters).reshape(self.count, self.size)]

    def per_parameter(self, values):
        return np.repeat(values, self.size, axis=0)

    def per_unit(self, values):
        return values.reshape(self.count, self.size, *values.shape[1:]).sum(axis=1)

    def joined(self, others, w):
        count = self.count + sum(units.count for units, _ in others)
        return Halves(self.shape, count, self.gain), np.concatenate([w, *(v for _, v in others)])

    def pictures(self, w, which):
        planes, rows, columns = self.shape
        filters = w.reshape(self.count, self.size)[which, :-1].reshape(len(which), planes, rows, columns // 2)
        return np.concatenate([filters, filters], axis=3).reshape(len(which), planes * rows, columns)

    def stored(self):
        return {"gain": self.gain}

    @classmethod
    def restored(cls, shape, count, arrays):
        return cls(shape, count, arrays["gain"])


class _At(Scalarization):
    def __init__(self, units, w, sigma, dtype):
        self.units, self.sigma, self.dtype = units, sigma, dtype
        self.filters = w.reshape(units.count, units.size)

    def _columns(self, images, filters):
        q = np.einsum("nsp,ip->nis", self.units.halves(images), filters)
        return q.reshape(len(images), -1).astype(self.dtype)

    def phi(self, images):
        q = self._columns(images, self.filters)
        value = np.tanh(q) if self.sigma == "tanh" else 1 / (1 + np.exp(-q))
        return np.concatenate([value, np.ones((len(images), 1), dtype=self.dtype)], axis=1)

    def direction(self, v):
        filters = v.reshape(self.filters.shape)
        return lambda images, phi: self._columns(images, filters) * slope(phi[:, :-1], self.sigma)

    @property
    def contraction_size(self):
        return self.filters.size

    def contraction(self, images, phi, weights):
        b = (weights * slope(phi[:, :-1], self.sigma)).reshape(len(images), self.units.count, 2)
        return np.einsum("nis,nsp->ip", b, self.units.halves(images)).ravel().astype(np.float64)

    def gradient(self, total):
        return total


class _Bound(BoundUnits):
    """Pairs: every parameter with the left column of its unit, then every parameter with the right one."""

    def __init__(self, units, images, sigma):
        self.units, self.images, self.sigma = units, images, sigma
        owner = np.repeat(np.arange(units.count, dtype=np.int32), units.size)
        self.columns = np.concatenate([2 * owner, 2 * owner + 1])
        self.parameters = np.tile(np.arange(units.n_parameters, dtype=np.int32), 2)

    def basis(self, w, problems):
        return self.units.at(w[0], self.sigma).phi(self.images)[None]

    def jacobian(self, w, problems, dtype):
        steepness = slope(self.basis(w, problems)[0, :, :-1], self.sigma).reshape(len(self.images), -1, 2)
        d = np.einsum("nis,nsp->nsip", steepness, self.units.halves(self.images))
        return d.reshape(1, len(self.images), -1).astype(dtype)
