"""The weighted sum that a network minimises, built from the `objective` of a config."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
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
from varpro.adapters.torch.policy import OnDegenerate
from varpro.config import layered as sections
from varpro.config.layered import LayeredConfig, Objective
from varpro.distributed import Communicator
from varpro.train.layered.parallel import counted_once

Term = Callable[[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""term(features, scores, y, W) with W (D, n_classes), the columns of the last layer."""


class WeightedSum(nn.Module):
    """objective(features, scores, y, weight) -> total; `.values` holds each term of the last call, unweighted.

    weight : (n_classes, D) of the last layer, or None.  `.statuses` counts terms that were skipped or used a ridge.
    """

    def __init__(
        self, config: LayeredConfig, objective: Objective, n_classes: int, n_features: int, comm: Communicator
    ) -> None:
        super().__init__()
        self.weights = objective.active()
        self.values: dict[str, float] = {}
        self.statuses: Counter[str] = Counter()
        self.comm = comm
        setting = Setting(config, n_classes, n_features)
        made = {name: term_of(getattr(objective, name), setting) for name in self.weights}
        self.parts: Any = nn.ModuleDict({name: module for name, (module, _) in made.items()})
        self.terms = {name: term for name, (_, term) in made.items()}

    @property
    def head(self) -> VarproHead | None:
        """The eliminated last layer, if it is part of the objective."""
        return dict(self.parts.items()).get("varpro_head")

    def forward(
        self, features: torch.Tensor, scores: torch.Tensor | None, y: torch.Tensor, weight: torch.Tensor | None
    ) -> torch.Tensor:
        columns = None if weight is None else counted_once(weight, self.comm).T
        total, self.values, self.live = features.new_zeros(()), {}, 0
        for name, factor in self.weights.items():
            value = self.terms[name](features, scores, y, columns)
            self.values[name] = float(value.detach())
            total = total + factor * value
            self.live += not self._status(name).startswith("skipped")
        return total

    def own_gradients_counted_once(self) -> None:
        """Keep only rank 0's gradients of the centroids, since every rank sees the whole batch."""
        if self.comm.rank > 0:
            for parameter in self.parameters():
                parameter.grad = None

    def _status(self, name: str) -> str:
        status = str(getattr(self.parts[name], "info", {}).get("status", "ok"))
        for kind in ("skipped", "ridge"):
            if status.startswith(kind):
                self.statuses[kind] += 1
        return status


@dataclass(frozen=True)
class Setting:
    """What a term needs to know besides its own options."""

    config: LayeredConfig
    n_classes: int
    n_features: int

    @property
    def policy(self) -> OnDegenerate:
        """What to do with a batch on which a term has no value."""
        return self.config.on_degenerate

    @property
    def policy_without_ridge(self) -> OnDegenerate:
        """The same for a term without a ridge mode to fall back on."""
        return "raise" if self.policy == "ridge" else self.policy

    def or_of_sphere(self, given: float | None, on_sphere: Callable[[float], float]) -> float:
        """The given option, else the value that suits features on a sphere, else 1."""
        xi = self.config.network.xi
        return given or (on_sphere(xi) if xi else 1.0)


@singledispatch
def term_of(options: object, setting: Setting) -> tuple[nn.Module, Term]:
    """The module of a term, by the section that holds its options, and how to call it."""
    raise TypeError(f"{type(options).__name__} is no term of an objective")


def _of_features(module: nn.Module) -> tuple[nn.Module, Term]:
    return module, lambda features, scores, y, columns: module(features, y)


@term_of.register
def _(options: float, setting: Setting) -> tuple[nn.Module, Term]:
    module = nn.CrossEntropyLoss()
    return module, lambda features, scores, y, columns: module(scores, y)


@term_of.register
def _(options: sections.NullSpace, setting: Setting) -> tuple[nn.Module, Term]:
    chosen = options.model_dump(exclude={"weight", "ridge"})
    return _of_features(NullSpaceLoss(on_degenerate=setting.policy, ridge=losses.Ridge(rel=options.ridge), **chosen))


@term_of.register
def _(options: sections.IntraClass, setting: Setting) -> tuple[nn.Module, Term]:
    sizes = () if options.mode == "eliminated" else (setting.n_classes, setting.n_features)
    return _of_features(IntraClassVariance(*sizes, **options.model_dump(exclude={"weight"})))


@term_of.register
def _(options: sections.FeedBackwardTerm, setting: Setting) -> tuple[nn.Module, Term]:
    tau = setting.or_of_sphere(options.tau, lambda xi: 1.0 / xi)
    module = FeedBackward(**options.model_dump(exclude={"weight", "tau"}), tau=tau)
    if options.eliminate:
        return _of_features(module)
    return module, lambda features, scores, y, columns: module(features, y, columns)


@term_of.register
def _(options: sections.SeparabilityTerm, setting: Setting) -> tuple[nn.Module, Term]:
    module = SeparabilityPenalty(1.0, options.normalise, on_degenerate=setting.policy_without_ridge)
    return module, lambda features, scores, y, columns: module(columns)


@term_of.register
def _(options: sections.Contrastive, setting: Setting) -> tuple[nn.Module, Term]:
    margin = setting.or_of_sphere(options.margin, lambda xi: math.sqrt(2.0) / xi)
    return _of_features(ContrastiveLoss(margin, on_degenerate=setting.policy_without_ridge))


@term_of.register
def _(options: sections.Head, setting: Setting) -> tuple[nn.Module, Term]:
    ridge, chosen = losses.Ridge(rel=options.ridge), options.model_dump(include={"memory", "targets"})
    return _of_features(VarproHead(setting.n_classes, ridge, **chosen, on_degenerate=setting.policy))
