"""The model as the search sees it: real numbers and free parameters, with weights and equalities built in.

complex  [Re y; Im y] = [Re Phi, -Im Phi; Im Phi, Re Phi] [Re A; Im A]: the exact real split, applied to w as well
equality C a = d: a = a0 + Z b, so Phi becomes [Phi Z | Phi a0] with the last column pinned at the coefficient 1
fixed term: a column pinned at 1
ridge    rows L below Phi, zeros below y
excluded rows, those of weight 0, are set to 0 whatever the model gives there, since 0 * inf would be nan
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from varpro.arrays import Array
from varpro.fitting.model import UserModel
from varpro.fitting.parameters import Parameters
from varpro.kernels import small_fits
from varpro.problems.columns import as_real_rows
from varpro.problems.curves import DirectBasis


@dataclass
class FitBasis:
    """Phi (b, N', I') and D (b, N', M') of problems at the free parameters u (b, F)."""

    model: UserModel
    names: Parameters
    weights: Array | None = None
    """The row weights, (1 or B, N')."""
    complex_data: bool = False
    complex_w: bool = False
    mixing: Array | None = None
    """The map of amplitudes (I, I'): Phi' = Phi mixing."""
    extra_rows: Array | None = None
    """Rows (L, I') below those of the model."""
    excluded: Array | None = None
    """Rows (1 or B, N) that are left out though the weights are not applied here; None leaves out those of weight 0."""
    columns: Array = field(init=False)
    """The column of each derivative, (M',) int32."""
    parameters: Array = field(init=False)
    """The free parameter of each derivative, (M',) int32."""
    taken: Array = field(init=False)
    """The model's pair of each derivative before columns are split or mixed, (M,)."""
    all_pairs: bool = field(init=False)
    """Whether those are all of the model's pairs, unchanged."""
    _scale: Array = field(init=False)
    _steep: list[tuple[int, int, int]] = field(init=False)
    """(m, p, f) of the pairs whose factor is dw_p / du_f at u, for parameters that follow an expression."""
    _spread: Array | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._steep = []
        if self.names.plain and not self.complex_w:
            self.columns, self.parameters = np.array(self.model.pairs.T, dtype=np.int32, order="C")
            count = len(self.model.pairs)
            self.taken, self._scale, self.all_pairs = np.arange(count), np.ones(count), True
        else:
            self._follow_parameters()
        if self.complex_data:
            columns = self.model.n_columns
            self.columns = np.concatenate([self.columns, columns + self.columns]).astype(np.int32)
            self.parameters = np.concatenate([self.parameters, self.parameters])
        if self.mixing is not None:
            self._mix_pairs()

    def _follow_parameters(self) -> None:
        """A derivative for each pair of the model and each free parameter that moves the pair's own."""
        pairs, count = self.model.pairs, self.model.n_parameters
        take: list[int] = []
        column: list[int] = []
        parameter: list[int] = []
        scale: list[complex] = []
        for part, turn in ((0, 1.0), (count, 1.0j)) if self.complex_w else ((0, 1.0),):
            for m, (j, p) in enumerate(pairs):
                for f in np.flatnonzero(self.names.depends[part + p]):
                    if self.names.source[part + p] < 0:
                        self._steep.append((len(take), int(part + p), int(f)))
                    take.append(m)
                    column.append(int(j))
                    parameter.append(int(f))
                    scale.append(turn * (self.names.factor[part + p] or 1.0))
        self.taken = np.array(take, dtype=int)
        self._scale = np.array(scale, dtype=complex if self.complex_w else float)
        self.columns, self.parameters = np.array(column, dtype=np.int32), np.array(parameter, dtype=np.int32)
        self.all_pairs = len(take) == len(pairs) and bool((self._scale == 1).all()) and not self._steep

    @property
    def plain(self) -> bool:
        """Whether the model's columns and derivatives at the searched parameters are used unchanged."""
        as_they_are = self.all_pairs and self.names.plain and not self.complex_data
        return as_they_are and self.mixing is None and self.extra_rows is None

    @property
    def n_free(self) -> int:
        """F"""
        return self.names.n_free

    @property
    def box(self) -> tuple[Array, Array] | None:
        """Bounds on the free parameters, (F,) twice, or None."""
        return (self.names.lower, self.names.upper) if self.names.bounded else None

    @cached_property
    def program(self) -> Array | None:
        """The columns encoded for the compiled kernel; None if it cannot make them, or they are not used as it does."""
        altered = self.mixing is not None or self.extra_rows is not None
        altered |= self.complex_data and self.spans is not None
        program = None if altered or self.names.expressions else self.model.program
        return None if program is None else small_fits.encode(program)

    @property
    def links(self) -> small_fits.Links | None:
        """How the program's parameters follow the free ones; None if they are those."""
        names = self.names
        if names.plain:
            return None
        return small_fits.Links(names.source.astype(np.int32), names.factor, names.offset)

    def direct(self, problem: int) -> DirectBasis | None:
        """The caller's functions, called directly for one problem; None where their results need further work."""
        as_they_are = self.all_pairs and self.names.plain and not self.complex_data and self.mixing is None
        if not as_they_are or self.weights is not None or self.complex_w:
            return None
        if self.model.columns_function is None:
            return self.model.differentiated(problem, self.extra_rows, self.both)
        return self.model.direct(problem, self.both) if self.extra_rows is None else None

    @property
    def n_columns(self) -> int:
        """I'"""
        own = self.model.n_columns * (2 if self.complex_data else 1)
        return own if self.mixing is None else self.mixing.shape[1]

    def w(self, u: Array, problems: Array | None = None) -> Array:
        """The model's own parameters (b, P), complex where the user's are.  problems : (b,), None for all."""
        full = self.names.expand(self.inside(u), problems)
        if not self.complex_w:
            return full
        count = self.model.n_parameters
        return full[:, :count] + 1j * full[:, count:]

    def inside(self, u: Array) -> Array:
        """u (b, F) moved into the bounds."""
        return np.clip(u, self.names.lower, self.names.upper) if self.names.bounded else u

    def basis(self, u: Array, problems: Array) -> Array:
        """Phi of b problems, float64, C-contiguous."""
        with np.errstate(all="ignore"):  # the status says which problems are not finite
            phi = self.model.values(self.w(u, problems), problems)
        if self.complex_data:
            phi = as_real_rows(phi)
        if self.mixing is not None:
            phi = phi @ self.mixing
        return self._rows(phi, problems, self.extra_rows)

    def jacobian(self, u: Array, problems: Array, dtype: str = "float64", *, fine: bool = False) -> Array:
        """D of b problems; with fine=True as accurate as possible, for statistics."""
        with np.errstate(all="ignore"):
            d = self.model.derivatives(self.w(u, problems), problems, fine=fine)
        return self._pairs(d, u, problems).astype(dtype, copy=False)

    def both(self, u: Array, problems: Array) -> tuple[Array, Array]:
        """Phi and D for a step of a search: numeric derivatives reuse Phi, so this costs less than `jacobian`."""
        if not self.plain:
            return self.basis(u, problems), self.jacobian(u, problems)
        with np.errstate(all="ignore"):
            phi, d = self.model.both(self.w(u, problems), problems)
        return self._rows(phi, problems, None), self._pairs(d, u, problems)

    def slopes(self, u: Array, problems: Array, phi: Array, rows: Array) -> Array:
        """D for a step of a search where `has_secants` holds, phi[rows] being the result of `basis`; in any layout."""
        w = self.w(u, problems)
        with np.errstate(all="ignore"):
            if self.weights is None and self._left_out is None:
                return self.model.slopes(w, problems, phi, rows)
            d = self.model.slopes(w, problems, self.model.values(w, problems), np.arange(len(w)))
        return self._pairs(d, u, problems)

    @property
    def has_secants(self) -> bool:
        """Whether D may be told from Phi at two u; see UserModel.has_secants."""
        return self.plain and self.model.has_secants

    def _pairs(self, d: Array, u: Array, problems: Array) -> Array:
        """The model's D for the pairs that are searched, as real numbers with weighted rows."""
        if not self.all_pairs:
            d = d[:, :, self.taken] * self.factors(u, problems)
        if self.complex_data:
            d = as_real_rows(d)
        if self._spread is not None:
            d = d @ self._spread
        extra = None if self.extra_rows is None else np.zeros((len(self.extra_rows), d.shape[2]))
        return self._rows(d, problems, extra)

    def factors(self, u: Array, problems: Array) -> Array:
        """(M,) or (b, 1, M) what the model's derivatives, `taken`, are multiplied by."""
        if not self._steep:
            return self._scale
        m, p, f = np.array(self._steep).T
        scale = np.repeat(self._scale[None], len(u), axis=0)
        scale[:, m] *= self.names.slopes(self.inside(u), problems)[:, p, f]
        return scale[:, None, :]

    def _rows(self, a: Array, problems: Array, extra: Array | None) -> Array:
        """The rows weighted, excluded ones set to 0, and the extra rows appended."""
        a = np.ascontiguousarray(a, dtype=np.float64)
        if self.weights is not None:
            with np.errstate(all="ignore"):
                a = a * (self.weights if len(self.weights) == 1 else self.weights[problems])[:, :, None]
        if self._left_out is not None:
            out = self._left_out if len(self._left_out) == 1 else self._left_out[problems]
            a = np.where(out[:, :, None], 0.0, a)
        if extra is not None:
            a = np.concatenate([a, np.broadcast_to(extra, (len(a), *extra.shape))], axis=1)
        return a

    @cached_property
    def _left_out(self) -> Array | None:
        """(1 or B, N') rows that are left out, both parts of complex data; None if there are none."""
        out = self.excluded
        if out is None and self.weights is not None:
            out = self.weights == 0
            return out if out.any() else None
        return np.concatenate([out, out], axis=1) if out is not None and self.complex_data else out

    @property
    def spans(self) -> Array | None:
        """The rows of each column of the program, (I, 2); None for all."""
        return self.model.spans

    @property
    def points(self) -> Array:
        """t (1 or B, N) of the program."""
        return self.model.points

    @cached_property
    def grid(self) -> Array:
        """t (1 or B, N) for columns that a device makes and weights itself.

        There an excluded row enters as 0 times the column, so its t is moved into the range of the others.  The column
        is finite there if it is finite at the ends: every kind of compiled column is largest at an end or inside.
        """
        t = self.points
        if self._left_out is None:
            return t
        out = self._left_out[:, : t.shape[1]]  # the imaginary parts of complex data are left out with the real ones
        lower = np.where(out, np.inf, t).min(axis=1, keepdims=True)
        upper = np.where(out, -np.inf, t).max(axis=1, keepdims=True)
        if (lower <= t).all() and (t <= upper).all():
            return t
        empty = ~(lower <= upper)
        lower, upper = (np.where(empty, t[:, :1], end) for end in (lower, upper))
        if len(lower) > 1 and len(t) == 1 and (lower == lower[:1]).all() and (upper == upper[:1]).all():
            lower, upper = lower[:1], upper[:1]
        return np.ascontiguousarray(np.clip(t, lower, upper))

    def _mix_pairs(self) -> None:
        """D of mixed columns: for each parameter, every new column that one of its old columns contributes to."""
        assert self.mixing is not None
        pairs = sorted(
            {
                (c, int(p))
                for j, p in zip(self.columns, self.parameters, strict=True)
                for c in np.flatnonzero(self.mixing[j])
            }
        )
        spread = np.zeros((len(self.columns), len(pairs)))
        for place, (c, p) in enumerate(pairs):
            same = self.parameters == p
            spread[same, place] = self.mixing[self.columns[same], c]
        self._spread = spread
        self.columns = np.array([c for c, _ in pairs], dtype=np.int32)
        self.parameters = np.array([p for _, p in pairs], dtype=np.int32)
