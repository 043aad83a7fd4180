"""The losses as modules, with the options of the class of the same name in `varpro.losses`."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Self

import torch

from varpro import losses
from varpro.adapters.torch.bridge import Labels, beside, evaluate, objective
from varpro.adapters.torch.policy import OnDegenerate, guarded, require_policy
from varpro.errors import ConfigError, ShapeError
from varpro.losses.batch import Info


class _Loss(torch.nn.Module):
    kind: Callable[..., Any]
    """The class in `varpro.losses`."""
    info: Info
    """The `info` of the last call's LossResult, with arrays."""

    def __init__(self, on_degenerate: OnDegenerate, options: Mapping[str, object]) -> None:
        super().__init__()
        require_policy(on_degenerate, ridge=type(self).kind is losses.NullSpaceLoss)
        self.loss = type(self).kind(**options)
        self.on_degenerate, self.info = on_degenerate, {}

    @classmethod
    def paper(cls, **others: Any) -> Self:
        """The published form."""
        preset = getattr(cls.kind, "paper", None)
        if preset is None:
            raise ConfigError(f"{cls.__name__} has no published form of its own: give its options")
        made = preset()
        return cls(**{f.name: getattr(made, f.name) for f in fields(made)}, **others)

    def extra_repr(self) -> str:
        return f"{self.loss}, on_degenerate={self.on_degenerate!r}"


class NullSpaceLoss(_Loss):
    """loss(F, y) -> scalar; `on_degenerate="ridge"` uses mode="ridge" where the exact form has no value.

    The gradient is that of `varpro.losses`, which stays right for repeated eigenvalues, as none passes through eigh.
    """

    kind = losses.NullSpaceLoss

    def __init__(self, *, on_degenerate: OnDegenerate = "raise", **options: object) -> None:
        super().__init__(on_degenerate, options)

    def forward(self, features: torch.Tensor, y: Labels) -> torch.Tensor:
        mended = replace(self.loss, mode="ridge") if self.loss.mode == "exact" else None
        value, self.info = objective(guarded(self.loss, self.on_degenerate, mended), features, y)
        return value


class IntraClassVariance(_Loss):
    """loss(F, y) -> scalar.  All modes except `eliminated` keep centroids C (n_classes, n_features), initially zero.

    C is a parameter in `learned`; in `proximal` and `ema` it is a buffer, updated by each call in training mode.
    """

    kind = losses.IntraClassVariance

    def __init__(self, n_classes: int | None = None, n_features: int | None = None, **options: object) -> None:
        super().__init__("raise", options)
        mode = self.loss.mode
        if mode == "eliminated":
            if n_classes is not None or n_features is not None:
                raise ConfigError("mode 'eliminated' keeps no centroids: give no n_classes and n_features")
            return
        if n_classes is None or n_features is None or min(n_classes, n_features) < 1:
            raise ConfigError(f"mode {mode!r} keeps centroids and needs n_classes and n_features, both 1 or more")
        centroids = torch.zeros(n_classes, n_features)
        if mode == "learned":
            self.C = torch.nn.Parameter(centroids)
        else:
            self.register_buffer("C", centroids)

    @classmethod
    def paper(cls, n_classes: int, n_features: int) -> Self:  # type: ignore[override]
        """The published form: learned centroids that start at zero."""
        return cls(n_classes, n_features, mode="learned")

    def forward(self, features: torch.Tensor, y: Labels) -> torch.Tensor:
        mode = self.loss.mode
        carried = mode in ("proximal", "ema")
        if carried and self.training and getattr(features, "ndim", 2) == 3:
            raise ShapeError(f"F holds several batches; mode {mode!r} carries its centroids through one at a time")
        value, self.info = objective(self.loss, features, y, **({} if mode == "eliminated" else {"C": self.C}))
        if carried and self.training:
            with torch.no_grad():
                self.C.copy_(beside(self.info["C"], self.C))
        return value


class FeedBackward(_Loss):
    """loss(F, y, W) -> scalar with W (m, n), columns = classes: layer.weight.T of a Linear; none if eliminate."""

    kind = losses.FeedBackward

    def __init__(self, **options: object) -> None:
        super().__init__("raise", options)

    def forward(self, features: torch.Tensor, y: Labels, weight: torch.Tensor | None = None) -> torch.Tensor:
        value, self.info = objective(self.loss, features, y, **({} if weight is None else {"W": weight}))
        return value


class SeparabilityPenalty(_Loss):
    """penalty(W) -> scalar with W (m, n), columns = classes: layer.weight.T of a Linear."""

    kind = losses.SeparabilityPenalty

    def __init__(self, beta: float = 1.0, normalise: bool = False, *, on_degenerate: OnDegenerate = "raise") -> None:
        super().__init__(on_degenerate, {"beta": beta, "normalise": normalise})

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        run = guarded(self.loss, self.on_degenerate)
        value, self.info = evaluate(lambda W: run(W), W=weight)
        return value


class ContrastiveLoss(_Loss):
    """loss(F, y) -> scalar over all pairs of the batch."""

    kind = losses.ContrastiveLoss

    def __init__(self, margin: float = 1.0, *, on_degenerate: OnDegenerate = "raise") -> None:
        super().__init__(on_degenerate, {"margin": margin})

    @classmethod
    def on_sphere(cls, xi: float, **others: Any) -> Self:
        """sqrt(2) / xi: features of different classes are pushed until they are perpendicular."""
        return cls(losses.ContrastiveLoss.on_sphere(xi).margin, **others)

    def forward(self, features: torch.Tensor, y: Labels) -> torch.Tensor:
        value, self.info = objective(guarded(self.loss, self.on_degenerate), features, y)
        return value
