"""The products with the compressed Jacobian by einsum."""

import numpy as np

from varpro.arrays import Array


def products_reference(d: Array, u: Array, r: Array) -> tuple[Array, Array]:
    """The products, from their formulas in float64."""
    wide = d.astype(np.float64)
    return np.einsum("bnr,bnm->brm", u, wide), np.einsum("bnm,bnk->bmk", wide, r)
