"""The planned networks of `varpro.train.layered.plan` as torch modules that return (features, scores)."""

from typing import Unpack

import torch
from torch import nn

from varpro.adapters.torch.layers import InwardScale
from varpro.arrays import Array
from varpro.train.calibration import Calibration
from varpro.train.layered.layers import (
    Average,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Inward,
    Layer,
    Norm,
    Pool,
    PRelu,
    Relu,
    Shape,
)
from varpro.train.layered.plan import NetworkPlan, PlanOptions, plan_network


def _module(layer: Layer, shape: Shape) -> nn.Module:
    """The torch module of a layer, for inputs of a shape."""
    match layer:
        case Conv():
            return nn.Conv2d(shape[0], layer.out, layer.kernel, padding=layer.pad)
        case Dense():
            return nn.Linear(shape[0], layer.out)
        case Norm():
            return nn.BatchNorm2d(shape[0]) if len(shape) == 3 else nn.BatchNorm1d(shape[0])
        case Pool():
            return nn.MaxPool2d(2)
        case Average():
            return nn.AdaptiveAvgPool2d(layer.side)
        case Dropout():
            return nn.Dropout(layer.share)
        case Inward():
            return InwardScale(layer.xi, learnable=layer.learnable)
        case Relu():
            return nn.ReLU()
        case PRelu():
            return nn.PReLU()
        case Flatten():
            return nn.Flatten()
        case _:
            raise TypeError(f"{layer} has no torch form")


class LayeredNetwork(nn.Module):
    """network(images) -> (features (N, D), scores (N, n_classes)); scores is None until there is a last layer.

    images : (N, planes, rows, columns), floats in [0, 1].
    `last` is a trained Linear, or None; in that case an objective solves for it and `set_last` puts it in place.
    """

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.plan = plan
        self.body = nn.Sequential(*(_module(layer, shape) for layer, shape in plan.walk()))
        self.last: nn.Linear | None = nn.Linear(plan.embedding, plan.n_classes) if plan.linear else None
        self.calibration: Calibration | None = None

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        features = self.body(images)
        return features, None if self.last is None else self.last(features)

    @property
    def xi(self) -> float | None:
        """The inverse radius of the sphere on which the features lie, or None."""
        layer = self.body[-1]
        return float(layer.xi.detach()) if isinstance(layer, InwardScale) else None

    def set_last(self, a: torch.Tensor | Array) -> None:
        """Use the scores [F 1] a from now on, for a (D + 1, n_classes)."""
        a = torch.as_tensor(a)
        place = next(self.parameters())
        self.last = nn.Linear(self.plan.embedding, self.plan.n_classes).to(place)
        with torch.no_grad():
            self.last.weight.copy_(a[:-1].T)
            self.last.bias.copy_(a[-1])


def build(name: str, shape: Shape, n_classes: int, **options: Unpack[PlanOptions]) -> LayeredNetwork:
    """The network `name` for images (planes, rows, columns), with the options of `plan_network`."""
    return LayeredNetwork(plan_network(name, shape, n_classes, **options))
