"""A network whose weights are bytes: codes of -127 to 127, with a scale for each vector of a unit and for each output.

A rounded weight moves the scores by the column that it weighs.  Where columns are alike, as those of overlapping cells
are, one can make up for the error of another.  So, given images, the layer is first fitted to the scores of the network
as it was, on the columns of the rounded units.  Then its weights are rounded one after another, and what each misses is
handed to those that are still free, as their least-squares fit on the images.  With the Gram matrix H of the columns,

    e = (a_j - code_j s) / (H^-1)_jj,      a_l -= e (H^-1)_jl  for l > j,      H^-1 without row and column j,

which is the update of Hassibi and Stork, Second order derivatives for network pruning, NIPS 5 (1993) 164-171, with a
weight that is rounded instead of removed.  The constant is not rounded and comes last.
"""

from dataclasses import replace

import numpy as np
import scipy.linalg

from varpro.arrays import Array
from varpro.export.graph import Graph
from varpro.models.units.forms import Forms

LARGEST = 127
"""The largest code; -128 is left out, so that codes are symmetric."""
IMAGES = 4000
"""The most images that the layer is rounded on: several for each of a thousand columns."""
RIDGE = 1e-5
"""On the diagonal of the Gram matrix, relative to its mean: the weights stay near the trained ones where the images say
nothing about them."""


def in_bytes(graph: Graph, images: Array | None = None) -> Graph:
    """The network with int8 vectors and layer.

    images : (N, *shape), by which the layer is rounded so that the scores change little; None rounds to the nearest.
    """
    rounded = replace(graph, forms=tuple(map(_rounded_form, graph.forms)))
    if images is None or not len(images):
        scale = _scale(graph.layer)
        return replace(rounded, layer=_codes(graph.layer, scale), scale=graph.scale * scale)
    gram, layer = _fitted(graph, rounded, images[:IMAGES])
    codes, scale, constant = _rounded_layer(layer, gram)
    return replace(rounded, layer=codes, scale=scale, constant=constant)


def _scale(values: Array) -> Array:
    """The value of code 1 for each column of values."""
    largest = np.abs(values).max(axis=0)
    scale: Array = np.where(largest > 0, largest, 1.0) / LARGEST
    return scale


def _codes(values: Array, scale: Array) -> Array:
    return np.clip(np.round(values / scale), -LARGEST, LARGEST).astype(np.int8)


def _rounded_form(form: Forms) -> Forms:
    """The vectors as codes, their scales in the factors."""
    scales = {id(vector): _scale(vector) for vector in form.vectors}
    codes = {id(vector): _codes(vector, scales[id(vector)]) for vector in form.vectors}
    factors = form.factors.copy()
    for t, term in enumerate(form.terms):
        for vector in term:
            factors[t] *= scales[id(vector)]
    return replace(form, terms=tuple(tuple(codes[id(v)] for v in term) for term in form.terms), factors=factors)


def _fitted(graph: Graph, rounded: Graph, images: Array) -> tuple[Array, Array]:
    """The Gram matrix (J + 1, J + 1) of the rounded units' columns with its ridge, and the layer (J + 1, K) on them
    that gives the scores of the network as it was."""
    before = np.concatenate([graph.layer * graph.scale, graph.constant[None]])
    gram, cross = np.zeros((len(before), len(before))), np.zeros_like(before)
    for (rows, phi), (_, rounded_phi) in zip(graph.columns(images), rounded.columns(images), strict=True):
        ones = np.ones((rows.stop - rows.start, 1))[: len(phi)]
        old, new = (np.concatenate([part, ones], axis=1, dtype=np.float64) for part in (phi, rounded_phi))
        gram += new.T @ new
        cross += new.T @ ((old - new) @ before)
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    return gram, before + scipy.linalg.solve(gram, cross, assume_a="pos")


def _rounded_layer(layer: Array, gram: Array) -> tuple[Array, Array, Array]:
    """Codes (J, K), their scale (K,) and the constant (K,)."""
    # row j of the upper Cholesky factor of H^-1 is row j of the inverse without rows and columns before j, divided by
    # the root of its diagonal entry
    upper = scipy.linalg.cholesky(scipy.linalg.inv(gram))
    free, scale = layer.copy(), _scale(layer[:-1])
    codes = np.zeros(layer[:-1].shape, dtype=np.int8)
    for j in range(len(codes)):
        codes[j] = _codes(free[j], scale)
        missed = (free[j] - codes[j] * scale) / upper[j, j]
        free[j + 1 :] -= upper[j, j + 1 :, None] * missed
    return codes, scale, free[-1]
