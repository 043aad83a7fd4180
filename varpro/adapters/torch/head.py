"""The last linear layer of a network, eliminated by variable projection inside the training step."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch

from varpro.adapters.torch.bridge import Labels, computing_beside, objective, to_array, to_labels
from varpro.adapters.torch.policy import OnDegenerate, guarded, require_policy
from varpro.arrays import Array, beside, settled
from varpro.errors import ConfigError, DegenerateBatchError, ShapeError
from varpro.losses import ClassMoments, EliminatedLinear, LossResult, Ridge
from varpro.losses.batch import Info, finite_matrix, in_precision_of, labels_below

MOMENTS = ("labels", "counts", "means", "scatter")


class VarproHead(torch.nn.Module):
    """head(F, y) -> min_A ||Y - [F 1] A||^2 / N + gamma ||A||^2, the bias free, for features F (N, D) of any network.

    There are no parameters: the optimiser sees only the network before the head and gets dL/dF of the minimum.  In eval
    mode A is fixed and the value is that of the given batch.  head.A is (D + 1, n_classes) in float64, bias last.

    ridge : gamma, or Ridge(rel=), gamma = rel tr(S_t) / D, which the scale of F cannot evade.
    targets : "onehot" (1 and 0) or "signed" (1 and -1).
    memory : the factor on the weight of past batches at each step, 0 .. 1: A rests on about N / (1 - memory) samples,
        with their features of that time.  0 keeps none, so a batch of few samples needs a good ridge.
    on_degenerate : "raise", "skip", or "ridge", which uses Ridge() for the batch.
    """

    info: Info
    """Results of the last training call: A, gamma, trSt, accuracy on the batch, moments, status."""

    def __init__(
        self,
        n_classes: int,
        ridge: Ridge | float | None = None,
        *,
        targets: Literal["onehot", "signed"] = "onehot",
        memory: float = 0.0,
        on_degenerate: OnDegenerate = "raise",
    ) -> None:
        super().__init__()
        require_policy(on_degenerate, ridge=True)
        if not 0 <= memory <= 1:
            raise ConfigError(f"memory is {memory}; it lies in 0 .. 1")
        self.loss = EliminatedLinear(n_classes, Ridge() if ridge is None else ridge, targets)
        self.memory, self.on_degenerate, self.info = memory, on_degenerate, {}
        self.reset()

    def reset(self) -> None:
        """Forget A and the past."""
        self._a: Array | None = None
        self._gamma = 0.0
        self._moments: ClassMoments | None = None

    @property
    def A(self) -> torch.Tensor:
        """A (D + 1, n_classes) of the last training step or partial_fit, on the CPU; its last row is the bias."""
        return torch.from_numpy(settled(self._solved()))

    def forward(self, features: torch.Tensor, y: Labels) -> torch.Tensor:
        if not self.training:
            self._solved()
            return objective(self._at_fixed_layer, features, y)[0]
        mended = replace(self.loss, ridge=Ridge())
        run = guarded(self.loss, self.on_degenerate, mended)

        def remembering(F: Array, labels: Array) -> LossResult:
            past = self._moments.forget(self.memory) if self._moments is not None and self.memory else None
            return run(F, labels, memory=past)

        value, self.info = objective(remembering, features, y)
        if "A" in self.info and features.ndim == 2:
            self._a, self._gamma = self.info["A"], self.info["gamma"]
            self._moments = self.info["moments"] if self.memory else None
            if self.memory and self._moments is None:
                with computing_beside(features):
                    self._moments = ClassMoments.of(to_array(features, "F"), to_labels(y))
        return value

    def partial_fit(self, features: torch.Tensor, y: Labels) -> "VarproHead":
        """Count a batch with full weight for A: use it after training, over all data, on a head that was reset."""
        labels = to_labels(y)
        with computing_beside(features):
            rows = to_array(features, "F")
            added = ClassMoments.of(rows, labels_below(labels, len(rows), self.loss.n_classes, "the head"))
            self._moments = added if self._moments is None else self._moments.beside(rows).merge(added)
        self._a = None
        return self

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        """[F 1] A (N, n_classes), differentiable in F."""
        a = self.A.to(features)
        if features.shape[-1] != len(a) - 1:
            raise ShapeError(f"F has {features.shape[-1]} columns, the head was solved for {len(a) - 1}")
        return features @ a[:-1] + a[-1]

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """Labels (N,), the class of the highest score."""
        return self.scores(features.detach()).argmax(dim=-1)

    def extra_repr(self) -> str:
        return f"{self.loss}, memory={self.memory:g}, on_degenerate={self.on_degenerate!r}"

    def get_extra_state(self) -> dict[str, Any]:
        """A and the moments, for state_dict."""
        state: dict[str, object] = {"gamma": self._gamma}
        if self._a is not None:
            state["A"] = torch.from_numpy(settled(self._a))
        if self._moments is not None:
            state |= {name: torch.from_numpy(settled(getattr(self._moments, name))) for name in MOMENTS}
        return state

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what get_extra_state returned."""
        self._gamma = float(state["gamma"])
        self._a = state["A"].numpy(force=True) if "A" in state else None
        found = [state[name].numpy(force=True) for name in MOMENTS if name in state]
        self._moments = ClassMoments(*found) if found else None

    def _solved(self) -> Array:
        if self._a is None:
            if self._moments is None:
                raise DegenerateBatchError("the head has no layer yet (N = 0): call it in training mode or partial_fit")
            made = self._moments  # solved on the host: once per fit, and no tensor here identifies a stream
            moments = replace(made, means=settled(made.means), scatter=settled(made.scatter))
            _, self._a, self._gamma, *_ = self.loss.solve(moments)
        return self._a

    def _at_fixed_layer(self, features: Array, y: Array) -> LossResult:
        rows = finite_matrix(features, "F")
        a = beside(self._solved(), rows)
        if rows.shape[1] != len(a) - 1:
            raise ShapeError(f"F has {rows.shape[1]} columns, the head was solved for {len(a) - 1}")
        y = labels_below(y, len(rows), self.loss.n_classes, "the head")
        away = rows @ a[:-1] + a[-1] - beside(self.loss.coded(y), rows)
        value = float((away * away).sum()) / len(rows) + self._gamma * float((a[:-1] * a[:-1]).sum())
        return LossResult(value, in_precision_of(features, (2.0 / len(rows)) * (away @ a[:-1].T)))
