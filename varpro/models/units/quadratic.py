"""Quadratic units: q = w^T X w + b, and for colour q = w^T (sum_c g_c X_c) w + b.

    S = X + X^T,   q = 1/2 w^T S w + b,   dq/dw = S w,   dq/dg_c = 1/2 w^T S_c w

Only the symmetric part of an image matters, so an image and its transpose look the same.  Values alone need only the
L (L + 1) / 2 packed entries of S, half the arithmetic.  Pereyra's scalarization, sections 1 and 6.2 of his paper.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.errors import ConfigError, ShapeError
from varpro.kernels import scalarize
from varpro.models.units.forms import Forms
from varpro.models.units.interface import BoundUnits, Shape, UnitSize, unit_kind
from varpro.models.units.options import UnitOptions
from varpro.models.units.table import BoundTable, TableUnits


@unit_kind("quadratic")
@dataclass(frozen=True)
class QuadraticUnits(TableUnits):
    """The rows of the table are w_1..w_L, for colour also g_1..g_C, then b."""

    no_device = None

    def __post_init__(self) -> None:
        _, rows, columns = self.shape
        if rows != columns:
            raise ShapeError(f"quadratic units need square images, these are {rows} x {columns}; use unit: bilinear")

    @classmethod
    def check(cls, shape: Shape, options: UnitOptions) -> None:
        _, rows, columns = shape
        if rows != columns:
            raise ConfigError(
                f"model.unit is quadratic, but the images are {rows} x {columns}; w^T X w needs square images: "
                "set model.unit: bilinear"
            )

    @classmethod
    def size_of_one(cls, shape: Shape, options: UnitOptions) -> UnitSize:
        planes, side, _ = shape
        return UnitSize(side + 1 + (planes if planes > 1 else 0), planes * side * (side + 1) / 2)

    @property
    def n_colours(self) -> int:
        """The number of rows of g: none for grey images, where g would only rescale w."""
        return self.shape[0] if self.shape[0] > 1 else 0

    @property
    def n_rows(self) -> int:
        return self.shape[1] + self.n_colours + 1

    def parts(self, w: Array) -> tuple[Array, Array, Array]:
        """w (L, I), g (C, I) and b (I,); g is ones for grey images."""
        table, side = self.table(w), self.shape[1]
        g = table[side:-1] if self.n_colours else np.ones((1, self.count), dtype=w.dtype)
        return table[:side], g, table[-1]

    def seen_rows(self, lit: Array) -> Array:
        seen = np.any(lit, axis=(0, 2)) | np.any(lit, axis=(0, 1))
        return np.concatenate([seen, np.ones(self.n_colours + 1, dtype=bool)])

    def rescale(self, w: Array, factor: Array, bias: Array) -> Array:
        table = self.table(w).copy()
        table[: self.shape[1]] *= np.sqrt(factor)
        table[-1] = bias
        return table.ravel()

    def matrices(self, w: Array) -> Array:
        """g_c w w^T in packed entries, (C L (L + 1) / 2, I)."""
        vectors, g, _ = self.parts(w)
        packed = scalarize.symmetric_pack_outer(vectors)
        return (g[:, None] * packed).reshape(-1, self.count)

    def tangent(self, w: Array, dw: Array) -> Array:
        (v, g, _), (dv, dg, _) = self.parts(w), self.parts(dw)
        # w dw^T + dw w^T by polarisation, so that packing is done in one place
        sides = scalarize.symmetric_pack_outer(v + dv) - scalarize.symmetric_pack_outer(v - dv)
        change = g[:, None] * (0.5 * sides)
        if self.n_colours:
            change = change + dg[:, None] * scalarize.symmetric_pack_outer(v)
        return change.reshape(-1, self.count).astype(w.dtype, copy=False)

    def cotangent(self, w: Array, gradient: Array, bias: Array) -> Array:
        v, g, _ = self.parts(w)
        side = self.shape[1]
        per_plane = gradient.reshape(self.shape[0], -1, self.count)
        row, column = np.triu_indices(side)
        full = np.zeros((side, side, self.count), dtype=gradient.dtype)
        full[row, column] = np.einsum("ci,cti->ti", g, per_plane)
        out = np.empty((self.n_rows, self.count), dtype=w.dtype)
        # q counts each off-diagonal pair once (packed entries hold X_kl + X_lk), so dq = (T + T^T) v
        out[:side] = np.einsum("kli,li->ki", full, v) + np.einsum("kli,ki->li", full, v)
        if self.n_colours:
            packed = scalarize.symmetric_pack_outer(v)
            out[side:-1] = np.einsum("cti,ti->ci", per_plane, packed)
        out[-1] = bias
        return out.ravel()

    def flat(self, images: Array, dtype: np.dtype) -> Array:
        return scalarize.symmetric_pack(images, dtype=dtype)

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return _BoundQuadratic(self, images, sigma)

    def gathered(
        self, images: Array, index: Array, w: Array, *, sigma: str, jacobian: str | None
    ) -> tuple[Array, Array | None]:
        table = w.reshape(len(w), -1, self.count)
        return scalarize.quadratic(images, index, table, sigma=sigma, jacobian=jacobian)

    @classmethod
    def packed_numbers(cls, shape: Shape) -> int:
        planes, side, _ = shape
        return planes * side * (side + 1) // 2

    def packed(self, images: Array, index: Array) -> Array:
        return scalarize.symmetric_pack(images, index, dtype=np.float64).reshape(*index.shape, -1)

    def packed_values(self, packed: Array, w: Array, sigma: str) -> Array:
        table = w.reshape(len(w), -1, self.count)
        return scalarize.packed_quadratic(packed, table, self.n_colours, sigma=sigma)

    def forms(self, w: Array, sigma: str) -> list[Forms]:
        v, g, b = self.parts(w)
        return [Forms(((g, v, v) if self.n_colours else (v, v),), np.ones((1, self.count)), b, sigma)]

    def pictures(self, w: Array, which: Array) -> Array:
        v, g, _ = self.parts(w)
        outer = np.einsum("ki,li,ci->ickl", v[:, which], v[:, which], g[:, which])
        return outer.reshape(len(which), -1, self.shape[2])


class _BoundQuadratic(BoundTable):
    def __init__(self, units: QuadraticUnits, images: Array, sigma: str) -> None:
        super().__init__(units, images, sigma)
        lit = self.rows[self.rows < units.shape[1]]
        self.images = scalarize.symmetrised(self.pixels[:, :, lit[:, None], lit])
        self.packed = scalarize.symmetric_pack(self.images, dtype=float)
        self.side, self.n_colours = len(lit), units.n_colours
        del self.pixels

    def basis(self, w: Array, problems: Array) -> Array:
        """Values alone, from a product with the packed entries: half the arithmetic of the pass that also makes D."""
        table = w.reshape(-1, self.count)
        matrices = scalarize.symmetric_pack_outer(table[: self.side])
        if self.n_colours:
            matrices = (table[self.side : -1, None] * matrices).reshape(-1, self.count)
        phi = np.ones((1, len(self.packed), self.count + 1))
        phi[0, :, :-1] = self.packed @ matrices
        scalarize.activate(phi[0], table[-1], sigma=self.sigma)
        return phi

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        table = w.reshape(1, -1, self.count)
        d = scalarize.quadratic(self.images, None, table, sigma=self.sigma, jacobian=dtype, symmetric=True)[1]
        assert d is not None
        return d
