"""Quadratic units: q = w^T X w + b, and for colour q = w^T (sum_c g_c X_c) w + b.

    S = X + X^T,   q = 1/2 w^T S w + b,   dq/dw = S w,   dq/dg_c = 1/2 w^T S_c w

Only the symmetric part of an image matters: an image and its transpose look the same.  Values alone need the
L (L + 1) / 2 packed entries of S, half the arithmetic.  Pereyra's scalarization, sections 1 and 6.2 of his paper.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from varpro.arrays import Array, is_device_array
from varpro.errors import ShapeError
from varpro.kernels import scalarize
from varpro.kernels.scalarize import cuda as on_device
from varpro.models.images import unit_floats
from varpro.models.units import BoundUnits, Units


@dataclass(frozen=True)
class QuadraticUnits(Units):
    """w is (Q, I) row-major: rows w_1..w_L, for colour g_1..g_C, then b."""

    kind = "quadratic"

    def __post_init__(self) -> None:
        _, rows, columns = self.shape
        if rows != columns:
            raise ShapeError(f"quadratic units need square images, these are {rows} x {columns}; use unit: bilinear")

    @classmethod
    def create(cls, shape: tuple[int, int, int], count: int, rng: np.random.Generator, window: tuple[int, int]) -> Self:
        return cls(shape, count)

    @property
    def n_colours(self) -> int:
        """Rows of g: none for grey images, whose g would only rescale w."""
        return self.shape[0] if self.shape[0] > 1 else 0

    @property
    def n_parameters(self) -> int:
        return (self.shape[1] + self.n_colours + 1) * self.count

    def parts(self, w: Array) -> tuple[Array, Array, Array]:
        """w (L, I), g (C, I) and b (I,); g is ones for grey images."""
        table, side = w.reshape(-1, self.count), self.shape[1]
        g = table[side:-1] if self.n_colours else np.ones((1, self.count), dtype=w.dtype)
        return table[:side], g, table[-1]

    def bias(self, w: Array) -> Array:
        return self.parts(w)[2]

    def draw(self, rng: np.random.Generator) -> Array:
        table = rng.standard_normal((self.n_parameters // self.count, self.count))
        table[-1] = 0.0
        return table.ravel()

    def rescale(self, w: Array, factor: Array, bias: Array) -> Array:
        table = w.reshape(-1, self.count).copy()
        table[: self.shape[1]] *= np.sqrt(factor)
        table[-1] = bias
        return table.ravel()

    def matrices(self, w: Array) -> Array:
        """(C L (L + 1) / 2, I): g_c w w^T by packed entries."""
        vectors, g, _ = self.parts(w)
        packed = scalarize.symmetric_pack_outer(vectors)
        return (g[:, None] * packed).reshape(-1, self.count)

    def tangent(self, w: Array, dw: Array) -> Array:
        (v, g, _), (dv, dg, _) = self.parts(w), self.parts(dw)
        # w dw^T + dw w^T by polarisation, so that the packing has one home
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
        out = np.empty((self.n_parameters // self.count, self.count), dtype=w.dtype)
        # q counts each off-diagonal pair once (packed entries hold X_kl + X_lk), so dq = (T + T^T) v
        out[:side] = np.einsum("kli,li->ki", full, v) + np.einsum("kli,ki->li", full, v)
        if self.n_colours:
            packed = scalarize.symmetric_pack_outer(v)
            out[side:-1] = np.einsum("cti,ti->ci", per_plane, packed)
        out[-1] = bias
        return out.ravel()

    def forward(self, images: Array, matrices: Array) -> Array:
        return self._packed(images, matrices.dtype) @ matrices

    def adjoint(self, images: Array, b: Array) -> Array:
        return self._packed(images, b.dtype).T @ b

    def _packed(self, images: Array, dtype: np.dtype) -> Array:
        if is_device_array(images):
            return on_device.packed(images, None, dtype=dtype)
        packed = [
            scalarize.symmetric_pack(np.ascontiguousarray(plane), dtype=dtype) for plane in np.moveaxis(images, 1, 0)
        ]
        return packed[0] if len(packed) == 1 else np.concatenate(packed, axis=1)

    def blocks(self) -> list[Array]:
        return [np.arange(self.n_parameters).reshape(-1, self.count).T]

    def per_parameter(self, values: Array) -> Array:
        return np.tile(values, (self.n_parameters // self.count, *[1] * (values.ndim - 1)))

    def per_unit(self, values: Array) -> Array:
        return values.reshape(-1, self.count, *values.shape[1:]).sum(axis=0)  # type: ignore[no-any-return]

    def bind(self, images: Array, sigma: str) -> BoundUnits:
        return _BoundQuadratic(self, images, sigma)

    def pictures(self, w: Array, which: Array) -> Array:
        v, g, _ = self.parts(w)
        outer = np.einsum("ki,li,ci->ickl", v[:, which], v[:, which], g[:, which])
        return outer.reshape(len(which), -1, self.shape[2])

    def joined(self, others: list[tuple[Self, Array]], w: Array) -> tuple[Self, Array]:
        tables = [w.reshape(-1, self.count), *(v.reshape(-1, units.count) for units, v in others)]
        table = np.concatenate(tables, axis=1)
        return type(self)(self.shape, table.shape[1]), table.ravel()


class _BoundQuadratic(BoundUnits):
    """Columns of D for pixels that none of these images lights are zero, so they are left out of the search."""

    def __init__(self, units: QuadraticUnits, images: Array, sigma: str) -> None:
        x = unit_floats(images)
        lit: Array = np.any(x, axis=(0, 1))
        self.lit = np.flatnonzero(np.any(lit, axis=0) | np.any(lit, axis=1))
        if not self.lit.size:
            self.lit = np.arange(1)
        x = x[:, :, self.lit[:, None], self.lit]
        self.s = np.ascontiguousarray(x + x.mT)[None]
        self.packed = np.concatenate(
            [scalarize.symmetric_pack(np.ascontiguousarray(p), dtype=float) for p in np.moveaxis(x, 1, 0)], axis=1
        )
        self.units, self.sigma = units, sigma
        dark = units.n_parameters // units.count - units.shape[1]
        self.rows = np.concatenate([self.lit, units.shape[1] + np.arange(dark)])
        self.columns = np.tile(np.arange(units.count, dtype=np.int32), len(self.rows))

    def lower(self, w: Array) -> Array:
        return w.reshape(-1, self.units.count)[self.rows].ravel()

    def lift(self, w: Array) -> Array:
        """Weights of unlit pixels are zero: nothing was learnt about them."""
        table = np.zeros((self.units.n_parameters // self.units.count, self.units.count))
        table[self.rows] = w.reshape(-1, self.units.count)
        return table.ravel()

    def basis(self, w: Array, problems: Array) -> Array:
        """Values alone: a product with the packed entries, half the arithmetic of the pass that also makes D."""
        count, side = self.units.count, len(self.lit)
        table = w.reshape(-1, count)
        matrices = scalarize.symmetric_pack_outer(table[:side])
        if self.units.n_colours:
            matrices = (table[side:-1, None] * matrices).reshape(-1, count)
        phi = np.ones((1, len(self.packed), count + 1))
        phi[0, :, :-1] = self.packed @ matrices
        scalarize.activate(phi[0], table[-1], sigma=self.sigma)
        return phi

    def jacobian(self, w: Array, problems: Array, dtype: str) -> Array:
        table = w.reshape(1, -1, self.units.count)
        d = scalarize.quadratic(self.s, table, sigma=self.sigma, jacobian=dtype)[1]
        assert d is not None
        return d
