"""The linear layer of fixed columns under cross-entropy, by Newton's method.

    F(A) = 1/n sum_n CE(Phi_n A, Y_n) + ridge/2 |A|^2                                P = softmax(Phi A)
    g    = Phi^T (P - Y) / n + ridge A,     S V = Phi^T W(Phi V) / n + ridge V

with W the curvature of each row's cross-entropy by its logits.  S is applied, not formed: a layer of 1,000 columns and
10 classes has 10,000 unknowns.  Conjugate gradients are preconditioned by M = Phi^T diag(v) Phi / n + ridge I for all
classes alike, with v_n the mean of P (1 - P) over the classes, which fades where a row is certain, as W does.
"""

from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array, Twin, beside, namespace, to_host
from varpro.linalg.cholesky import Factored, factor
from varpro.linalg.cross_entropy import cross_entropy, curvature, softmax
from varpro.linalg.newton import Minimum, minimise
from varpro.linalg.normal_equations import normal_equations
from varpro.linalg.row_sums import ShardedRows

LEAST_WEIGHT = 1e-3
"""Floor under the rows' weights in M, relative to a row that is quite uncertain."""
RELATIVE_RIDGE = 1e-9
"""The least ridge of M, relative to its mean diagonal: above the rounding of its sums."""
MAX_PRODUCTS = 60
"""Products of one Newton step: further ones gain less than the next step does with a new W."""


class BreakdownError(ArithmeticError):
    """A matrix that must be positive definite is not, or holds values that are not finite."""


@dataclass(frozen=True)
class EntropyColumns:
    """The columns, in blocks of the rows of this rank, with their targets.  Every method is collective."""

    rows: ShardedRows
    phi: list[Array]
    """Phi of each block of this rank, (n, I), in the precision of the products."""
    y: list[Array]
    """The targets of each block, (n, K) float64, each row with sum 1."""
    ridge: float
    """The ridge per row."""
    largest: float = 1.0
    """A bound on the entries of Phi, for sums that must be reproducible."""
    like: Array | None = None
    """An array that is where Phi and the targets are; None for the host."""

    def solve(self, start: Array, *, tolerance: float) -> Minimum["EntropyLayer"]:
        """The best layer, from a layer (I, K); tolerance : the promised decrease at which to stop, over F."""
        solver = self.preconditioner(start)

        def layer(a: Array) -> EntropyLayer:
            return EntropyLayer(self, solver, a.reshape(start.shape))

        return minimise(layer, start.ravel(), tolerance=tolerance, max_products=MAX_PRODUCTS)

    def preconditioner(self, a: Array) -> Factored:
        """The Cholesky factor of M at A (I, K).  Raises BreakdownError if there is none."""
        k, there = a.shape[1], Twin(a)

        def weighted(phi: Array) -> tuple[Array, Array]:
            p = softmax(phi @ there.beside(phi).astype(phi.dtype))
            v = np.maximum((1.0 - np.sum(p * p, axis=1)) / k, LEAST_WEIGHT / k)
            rows = phi * np.sqrt(v)[:, None].astype(phi.dtype)
            return rows, rows[:, :1]

        bound = max(1.0, self.largest)
        gram, _ = normal_equations(
            self.rows, self.phi, weighted, columns=len(a), outputs=1, like=self.place, largest=(bound, bound)
        )
        gram /= self.rows.n_rows
        squares = to_host(namespace(gram).diagonal(gram))
        # M need not be exact, but definite: with a tiny ridge a Gram matrix of collinear columns is not
        ridge = max(self.ridge, RELATIVE_RIDGE * float(squares.mean()))
        found = factor(gram, ridge, overwrite=True, conditioned=False) if np.isfinite(squares).all() else None
        if found is None:
            raise BreakdownError("the columns' weighted Gram matrix is not positive definite; raise the ridge")
        return found

    @property
    def place(self) -> Array:
        """An array that is where Phi is."""
        return np.empty(0) if self.like is None else self.like


class EntropyLayer:
    """F at one A (I, K), as `linalg.newton` takes it: vectors are flattened.  Collective."""

    def __init__(self, columns: EntropyColumns, solver: Factored, a: Array) -> None:
        self.columns, self.solver, self.a = columns, solver, a
        rows, there = columns.rows, beside(a, columns.place)

        def one(phi: Array, y: Array) -> tuple[Array, Array, Array]:
            value, p = cross_entropy(phi @ there.astype(phi.dtype), y)
            return np.array([value]), p, (phi.T @ (p - y.astype(phi.dtype))).astype(np.float64)

        parts = list(rows.map(one, columns.phi, columns.y))
        self.p = [p for _, p, _ in parts]
        """P of each block of this rank."""
        mean = float(rows.total([value for value, _, _ in parts], (1,))[0]) / rows.n_rows
        self.value = mean + 0.5 * columns.ridge * float(np.vdot(a, a))
        slope = rows.total([g for _, _, g in parts], a.shape) / rows.n_rows
        self.gradient: Array = (slope + columns.ridge * a).ravel()

    def product(self, v: Array) -> Array:
        """S v."""
        rows, wide = self.columns.rows, beside(v.reshape(self.a.shape), self.columns.place)

        def one(phi: Array, p: Array) -> Array:
            return (phi.T @ curvature(p, phi @ wide.astype(phi.dtype))).astype(np.float64)

        total = rows.total(list(rows.map(one, self.columns.phi, self.p)), self.a.shape)
        return total.ravel() / rows.n_rows + self.columns.ridge * v

    def precondition(self, r: Array) -> Array:
        """M^-1 r."""
        return self.solver.solve(r.reshape(self.a.shape)).ravel()
