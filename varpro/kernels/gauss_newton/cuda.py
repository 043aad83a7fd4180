"""The Gauss-Newton matrix from products on a device."""

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels._launch import dense, launch


def assemble(
    gram: Array, ztz: Array | None, aat: Array, gram_inverse: Array | None, g: Array | None, columns: Array,
    lam: Array | None = None, diagonal: Array | None = None,
) -> Array:  # fmt: skip
    """h (B, M, M) float64, lower triangle: aat o (gram - ztz) + gram_inverse o (g g^T) + lam diag(diagonal)."""
    xp, (count, m, _) = namespace(gram), gram.shape
    h = xp.empty((count, m, m))
    launch(
        "assemble", gram, gram=gram, ztz=dense(ztz, np.float64), aat=dense(aat, np.float64),
        gram_inverse=dense(gram_inverse, np.float64), g=dense(g, np.float64), columns=dense(columns, np.int32),
        lam=dense(lam, np.float64), diagonal=dense(diagonal, np.float64), h=h, problems=count, pairs=m,
        units=aat.shape[1], outputs=0 if g is None else g.shape[2], gram_is_float=gram.dtype == np.float32,
        h_is_float=False,
    )  # fmt: skip
    return h
