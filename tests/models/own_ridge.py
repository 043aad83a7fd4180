"""A unit of one's own in two methods, as `model.unit: tests.models.own_ridge:Ridge`, and some that are wrong."""

from dataclasses import dataclass

import numpy as np

from varpro.models import OwnUnits
from varpro.models.units import UnitOptions, option


def _positive(value):
    if not value > 0:
        raise ValueError("needs a value > 0")
    return float(value)


@dataclass(frozen=True, kw_only=True)
class RidgeOptions(UnitOptions):
    gain: float = option(1.0, check=_positive)
    edge: str = option("soft", check=str)


class Ridge(OwnUnits):
    """q = gain times the sum of pixels weighed by a bell across the rows, of centre c, width e^s and height a."""

    Options = RidgeOptions

    @property
    def parameters(self):
        return 3

    def _bell(self, w):
        rows = np.linspace(-1, 1, self.shape[1])[:, None]
        z = (rows - w[0]) * np.exp(-w[1])
        return np.exp(-0.5 * z**2), z

    def form(self, images, w):
        bell, _ = self._bell(w)
        return self.options.gain * images.sum(axis=(1, 3)) @ (w[2] * bell)

    def derivative(self, images, w):
        bell, z = self._bell(w)
        parts = w[2] * bell * z * np.exp(-w[1]), w[2] * bell * z**2, bell
        return np.stack([self.options.gain * images.sum(axis=(1, 3)) @ part for part in parts], axis=1)


class Wrong(Ridge):
    def derivative(self, images, w):
        d = super().derivative(images, w)
        d[:, 1] *= 1.01
        return d


class Short(Ridge):
    def derivative(self, images, w):
        return super().derivative(images, w)[:, :2]


class Raising(Ridge):
    def form(self, images, w):
        return images @ w


class Lacking(OwnUnits):
    @property
    def parameters(self):
        return 3


class Forgetful(Ridge):
    def stored(self):
        return {}


NUMBER = 3
