"""Objectives that shape features or a last layer by class scatter, and the rules that classify and retrieve with them.

A loss is called as `result = loss(F, y, ...)` and gives `.value`, `.gradient` and `.info`;
F is a NumPy or a CuPy array, and the gradient is of the same kind.
"""

from varpro.errors import DegenerateBatchError, NonFiniteError
from varpro.losses.batch import LossResult
from varpro.losses.classifier import DiscriminantClassifier, NearestCentroid, nearest_centroid
from varpro.losses.contrastive import ContrastiveLoss
from varpro.losses.factors import ClassMoments, DiscriminantFactors, Ridge
from varpro.losses.intraclass_variance import IntraClassVariance
from varpro.losses.inward_scale import InwardScale, cross_entropy_floor, largest_xi
from varpro.losses.linear_layer import EliminatedLinear
from varpro.losses.nullspace import NullSpaceLoss
from varpro.losses.retrieval import nearest, recall_at_k, true_positives_at_k
from varpro.losses.weight_separability import (
    FeedBackward,
    SemiOrthogonal,
    SeparabilityPenalty,
    semi_orthogonal,
    separability,
)

__all__ = [
    "ClassMoments",
    "ContrastiveLoss",
    "DegenerateBatchError",
    "DiscriminantClassifier",
    "DiscriminantFactors",
    "EliminatedLinear",
    "FeedBackward",
    "IntraClassVariance",
    "InwardScale",
    "LossResult",
    "NearestCentroid",
    "NonFiniteError",
    "NullSpaceLoss",
    "Ridge",
    "SemiOrthogonal",
    "SeparabilityPenalty",
    "cross_entropy_floor",
    "largest_xi",
    "nearest",
    "nearest_centroid",
    "recall_at_k",
    "semi_orthogonal",
    "separability",
    "true_positives_at_k",
]
