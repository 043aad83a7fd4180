"""Spots on images: two-dimensional Gaussians at points t (N, 2)."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from varpro.arrays import Array
from varpro.errors import ShapeError, at_least
from varpro.models.guesses import amplitudes
from varpro.models.separable import Model

WIDTH = 0.08
"""Width of a spot of which nothing is known, in ranges of the image."""
ROUNDS = 2
"""Rounds over all spots; each measures a spot on what the others leave."""


@dataclass(frozen=True, eq=False)
class Spots(Model):
    """phi_i = exp(-(x - x_i)^2 / (2 s_i^2) - (y - y_i)^2 / (2 r_i^2)) at points t (N, 2) of an image.

    w = (x_1, y_1, width_x_1, width_y_1, x_2, ...), all in the unit of t; widths are standard deviations.
    round : one width for both directions; w = (x_1, y_1, width_1, x_2, ...).  offset : append a column of ones.
    `pixels(shape)` gives t for an image, whose values are its `ravel()`.  Even and holomorphic in the widths.
    Example: single molecules, stars.  `guess` takes the highest spot of what is left, one after another, and its second
    moments.  Raises ConfigError for n < 1, ShapeError for other points.
    """

    n: int = 1
    _: KW_ONLY
    offset: bool = False
    round: bool = False

    def __post_init__(self) -> None:
        at_least("n of Spots", self.n, 1)

    @staticmethod
    def pixels(shape: tuple[int, int]) -> Array:
        """(rows columns, 2): the column x and the row y of each pixel of an image, row by row."""
        if len(shape) != 2:
            raise ShapeError(f"an image of {len(shape)} axes, shape {tuple(shape)}; pixels takes (rows, columns)")
        rows, columns = np.indices(shape)
        return np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float)

    @property
    def _stems(self) -> tuple[str, ...]:
        return ("x", "y", "width") if self.round else ("x", "y", "width_x", "width_y")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(f"{stem}_{i + 1}" for i in range(self.n) for stem in self._stems)

    @property
    def column_names(self) -> tuple[str, ...]:
        names = tuple(f"spot_{i + 1}" for i in range(self.n))
        return (*names, "offset") if self.offset else names

    @property
    def pairs(self) -> Array:
        size = len(self._stems)
        return np.array([(i, i * size + p) for i in range(self.n) for p in range(size)], dtype=np.intp)

    def _own(self, t: Array, w: Array) -> list[tuple[Array, Array, Array, Array, Array]]:
        """For each spot: the column, x and y in widths, and both widths."""
        t, w, size = np.asarray(t), np.asarray(w), len(self._stems)
        if t.ndim != 2 or t.shape[1] != 2:
            raise ShapeError(f"t has shape {t.shape}; Spots needs points (N, 2), such as Spots.pixels(image.shape)")
        out = []
        with np.errstate(all="ignore"):
            for i in range(self.n):
                v = w[i * size : (i + 1) * size]
                x, y = (t[:, 0] - v[0]) / v[2], (t[:, 1] - v[1]) / v[size - 1]
                out.append((np.exp(-0.5 * (x**2 + y**2)), x, y, v[2], v[size - 1]))
        return out

    def __call__(self, t: Array, w: Array) -> Array:
        columns = [own[0] for own in self._own(t, w)]
        return np.stack([*columns, np.ones_like(columns[0])] if self.offset else columns, axis=-1)

    def columns(self, t: Array, w: Array) -> Array:
        out = []
        for phi, x, y, a, b in self._own(t, w):
            by_x, by_y = phi * x / a, phi * y / b
            widths = [by_x * x + by_y * y] if self.round else [by_x * x, by_y * y]
            out += [by_x, by_y, *widths]
        return np.stack(out, axis=-1)

    def guess(self, t: Array, y: Array) -> Array:
        t, y = np.asarray(t, dtype=float), np.asarray(y)
        if t.ndim != 2 or t.shape[1] != 2 or len(y) != len(t):
            raise ShapeError(f"t has shape {t.shape}, y has {y.shape}; a guess needs t (N, 2) and y (N,) or (N, K)")
        table = np.abs(y.reshape(len(t), -1)) if np.iscomplexobj(y) else y.reshape(len(t), -1).astype(float)
        good = np.isfinite(table).all(axis=1) & np.isfinite(t).all(axis=1)
        if not good.any():
            return np.ones(len(self.parameter_names))
        scale = _pitch(t[good], shared=self.round)
        t, image = t[good] / scale, table[good].sum(axis=1)
        span = float(np.ptp(t, axis=0).max()) or 1.0
        size = float(np.abs(image).max()) or 1.0
        image = image / size - (np.median(image / size) if self.offset else 0.0)
        found: list[Array] = []
        for _ in range(self.n):
            found.append(_measured(t, _rest(t, image, found), span))
        for _ in range(ROUNDS if self.n > 1 else 0):
            for i in range(self.n):
                found[i] = _measured(t, _rest(t, image, found, without=i), span, found[i])
        found = [v * np.tile(scale, 2) for v in sorted(found, key=lambda v: (v[0], v[1]))]
        if self.round:
            found = [np.array([v[0], v[1], np.sqrt(v[2] * v[3])]) for v in found]
        return np.concatenate(found)


def _pitch(t: Array, *, shared: bool) -> Array:
    """The distance of two pixels along each axis (2,), so that a guess knows no unit; one distance if it is shared.

    Of points that are no image every value occurs once: then the spans are equally long.
    """
    spans = np.ptp(t, axis=0)
    pitch = np.array([spans[i] / max(1, len(np.unique(t[:, i])) - 1) or 1.0 for i in (0, 1)])
    return np.full(2, pitch.max()) if shared else pitch


def _rest(t: Array, image: Array, found: list[Array], without: int | None = None) -> Array:
    """The image less the fit of the spots found, without one of them."""
    if not found:
        return image
    phi = np.stack([np.exp(-0.5 * (((t - v[:2]) / v[2:]) ** 2).sum(axis=1)) for v in found], axis=1)
    a = amplitudes(phi, image)
    if without is not None:
        a[without] = 0.0
    return image - phi @ a


def _measured(t: Array, image: Array, span: float, near: Array | None = None) -> Array:
    """x, y and both widths of the highest spot: the root of its second moments within twice its half height."""
    inside = np.ones(len(t), dtype=bool) if near is None else ((np.abs(t - near[:2]) / near[2:]) < 2).all(axis=1)
    if not inside.any():
        inside[:] = True
    strength = np.where(inside, np.abs(image), -1.0)
    top = int(np.argmax(strength))
    center, sign = t[top], np.sign(image[top]) or 1.0
    far = np.sqrt(((t - center) ** 2).sum(axis=1))
    high = sign * image >= 0.5 * np.abs(image[top])
    order = np.argsort(far, kind="stable")
    first = int(np.argmin(high[order])) if not high.all() else len(t)
    reach = far[order[max(first, 1)]] if first < len(t) else WIDTH * span
    reach = float(reach) or WIDTH * span
    close = far <= 2.5 * reach
    weight = np.where(close, np.maximum(sign * image, 0.0), 0.0)
    total = weight.sum()
    if not total > 0:
        return np.array([*center, WIDTH * span, WIDTH * span])
    middle = weight @ t / total
    spread = np.sqrt(weight @ (t - middle) ** 2 / total)
    least = 0.3 * reach if reach > 0 else WIDTH * span
    return np.array([*middle, *np.clip(spread, least, span)])
