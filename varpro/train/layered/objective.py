"""The weighted sum that a network minimises, made from the `objective` of a config."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from varpro import losses
from varpro.adapters.torch.head import VarproHead
from varpro.adapters.torch.modules import (
    ContrastiveLoss,
    FeedBackward,
    IntraClassVariance,
    NullSpaceLoss,
    SeparabilityPenalty,
)
from varpro.config.layered import LayeredConfig, Objective
from varpro.distributed import Communicator
from varpro.train.layered.parallel import counted_once

Term = Callable[[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""term(features, scores, y, W) with W (D, n_classes), the last layer's columns."""


class WeightedSum(nn.Module):  # type: ignore[misc]
    """objective(features, scores, y, weight) -> total; `.values` has each term of the last call, unweighted.

    weight : (n_classes, D) of the last layer, or None.  `.statuses` counts terms that were skipped or took a ridge.
    """

    def __init__(
        self, config: LayeredConfig, objective: Objective, n_classes: int, n_features: int, comm: Communicator
    ) -> None:
        super().__init__()
        self.weights = objective.active()
        self.values: dict[str, float] = {}
        self.statuses: Counter[str] = Counter()
        self.comm = comm
        self.parts: Any = nn.ModuleDict(_modules(config, objective, n_classes, n_features))

    @property
    def head(self) -> VarproHead | None:
        """The eliminated last layer, if that is what is minimised."""
        return dict(self.parts.items()).get("varpro_head")

    def forward(
        self, features: torch.Tensor, scores: torch.Tensor | None, y: torch.Tensor, weight: torch.Tensor | None
    ) -> torch.Tensor:
        columns = None if weight is None else counted_once(weight, self.comm).T
        total, self.values, self.live = features.new_zeros(()), {}, 0
        for name, factor in self.weights.items():
            value = self._value(name, features, scores, y, columns)
            self.values[name] = float(value.detach())
            total = total + factor * value
            self.live += not self._status(name).startswith("skipped")
        return total

    def own_gradients_counted_once(self) -> None:
        """Centroids see the whole batch on every rank: only those of rank 0 go into the sum."""
        if self.comm.rank > 0:
            for parameter in self.parameters():
                parameter.grad = None

    def _value(self, name: str, features: torch.Tensor, scores: Any, y: torch.Tensor, columns: Any) -> torch.Tensor:
        if name == "cross_entropy":
            return nn.functional.cross_entropy(scores, y)
        part = self.parts[name]
        if name == "separability":
            return part(columns)
        if name == "feed_backward" and not part.loss.eliminate:
            return part(features, y, columns)
        return part(features, y)

    def _status(self, name: str) -> str:
        status = str(self.parts[name].info.get("status", "ok")) if name in self.parts else "ok"
        for kind in ("skipped", "ridge"):
            if status.startswith(kind):
                self.statuses[kind] += 1
        return status


def _modules(config: LayeredConfig, objective: Objective, n_classes: int, n_features: int) -> dict[str, nn.Module]:
    """The modules of the terms that count, but for cross-entropy, which has none."""
    policy, active, xi = config.on_degenerate, objective.active(), config.network.xi
    no_ridge = "raise" if policy == "ridge" else policy
    makers: dict[str, Callable[[], nn.Module]] = {
        "nullspace": lambda: _nullspace(objective, policy),
        "intraclass_variance": lambda: _intraclass(objective, n_classes, n_features),
        "feed_backward": lambda: FeedBackward(
            **objective.feed_backward.model_dump(exclude={"weight", "tau"}),
            tau=objective.feed_backward.tau or (1.0 / xi if xi else 1.0),
        ),
        "separability": lambda: SeparabilityPenalty(1.0, objective.separability.normalise, on_degenerate=no_ridge),
        "contrastive": lambda: ContrastiveLoss(
            objective.contrastive.margin or (math.sqrt(2.0) / xi if xi else 1.0), on_degenerate=no_ridge
        ),
        "varpro_head": lambda: VarproHead(
            n_classes,
            losses.Ridge(rel=objective.varpro_head.ridge),
            **objective.varpro_head.model_dump(include={"memory", "targets"}),
            on_degenerate=policy,
        ),
    }
    return {name: make() for name, make in makers.items() if name in active}


def _nullspace(objective: Objective, policy: Any) -> NullSpaceLoss:
    chosen = objective.nullspace
    options = chosen.model_dump(exclude={"weight", "ridge"})
    return NullSpaceLoss(on_degenerate=policy, ridge=losses.Ridge(rel=chosen.ridge), **options)


def _intraclass(objective: Objective, n_classes: int, n_features: int) -> IntraClassVariance:
    options = objective.intraclass_variance.model_dump(exclude={"weight"})
    sizes = () if options["mode"] == "eliminated" else (n_classes, n_features)
    return IntraClassVariance(*sizes, **options)
