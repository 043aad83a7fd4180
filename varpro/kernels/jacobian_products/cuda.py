"""Products with a compressed Jacobian on a device."""

import numpy as np

from varpro.arrays import Array, namespace
from varpro.kernels._launch import dense, launch, workspace


def jacobian_products(d: Array, u: Array, r: Array) -> tuple[Array, Array]:
    """z (B, rank, M) = U^T D and g (B, M, K) = D^T R float64; d (B, N, M) float32 or float64."""
    xp, (count, n, m), rank, k = namespace(d), d.shape, u.shape[2], r.shape[2]
    z, g = xp.empty((count, rank, m)), xp.empty((count, m, k))
    sizes = {"problems": count, "n": n, "pairs": m, "rank": rank, "outputs": k}
    scratch = workspace("jacobian_products", d, **sizes)
    launch(
        "jacobian_products", d, d=d, u=dense(u, np.float64), r=dense(r, np.float64), z=z, g=g, workspace=scratch,
        d_is_float=d.dtype == np.float32, **sizes,
    )  # fmt: skip
    return z, g
