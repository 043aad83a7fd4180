"""The config of a run that trains a network of PyTorch layers, recognised by its key `network`."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from varpro.config.kinds import NETWORKS
from varpro.config.sections import Bool, Float, Int, Section, TrainingConfig, name_in
from varpro.errors import ConfigError

if TYPE_CHECKING:
    from varpro.train.layered.plan import NetworkPlan

PER_CLASS = 2
"""Least number of samples per class in a balanced batch, since a single one has no scatter."""
NetworkName = Annotated[str, name_in(NETWORKS)]


class NetworkKind(Section):
    """The network to train."""

    name: NetworkName
    """The name of the network, one of docs/networks.md."""
    embedding: Annotated[Int, Field(ge=1)] | None = None
    """The number of features D; null = that of the definition."""
    xi: Annotated[Float, Field(gt=0)] | None = None
    """The xi of the sphere of radius 1 / xi to which features are scaled before the last layer; null = no scaling."""
    learnable_xi: Bool = False
    """Whether xi is trained, too."""


class Term(Section):
    """A part of the objective.  A plain number stands for {weight: number}."""

    weight: Annotated[Float, Field(ge=0)] = 1.0
    """The factor in the sum; 0 = left out."""


class NullSpace(Term):
    """The scatter of the class means that the within-class scatter does not reach."""

    mode: Literal["ridge", "exact"] = "ridge"
    """The form of the objective; exact needs batch - classes < D, and D >= batch - 1 for all directions."""
    spectral: Literal["below_sum", "below_mean", "sum", "mean", "clip", "logdet"] = "logdet"
    """The function of the eigenvalues that is minimised."""
    scale: Literal["trace", "none", "gamma"] = "trace"
    """The number that the eigenvalues are divided by."""
    eps: Annotated[Float, Field(gt=0)] = 1.0
    """The width of below_sum, below_mean and clip."""
    ridge: Annotated[Float, Field(gt=0)] = 1e-2
    """The rho in gamma = rho tr(S_t) / D."""
    strict: Bool = True
    """Whether, in exact mode, a batch with fewer than classes - 1 remaining directions has no value."""


class IntraClass(Term):
    """The squared distances to the centroids."""

    mode: Literal["eliminated", "proximal", "learned", "ema"] = "eliminated"
    """How the centroids are found."""
    kappa: Annotated[Float, Field(ge=0)] = 1.0
    """The number of samples that the old centroid counts as, in proximal."""
    alpha: Annotated[Float, Field(gt=0, le=1)] = 0.5
    """The share of the batch in the new centroid, in ema."""


class FeedBackwardTerm(Term):
    """The divergence between the softmax of the features and that of their class's column of the last layer."""

    eliminate: Bool = False
    """Whether the columns are solved for instead of taken from the last layer."""
    dist: Literal["softmax", "l1", "l2"] = "softmax"
    """The distributions or vectors that are compared."""
    direction: Literal["pq", "qp"] = "pq"
    """The direction of the divergence: KL(P || Q) or KL(Q || P)."""
    stop: Literal["none", "F", "W"] = "none"
    """The input that gets no gradient."""
    tau: Annotated[Float, Field(gt=0)] | None = None
    """The temperature of the softmax; null = 1, or 1 / xi on a sphere."""


class SeparabilityTerm(Term):
    """The squares of W^T W - I of the last layer, over the number of classes."""

    normalise: Bool = False
    """Whether the columns are first divided by their norms."""


class Contrastive(Term):
    """The distances in all pairs of a batch."""

    margin: Annotated[Float, Field(gt=0)] | None = None
    """The distance beyond which classes no longer push each other; null = 1, or sqrt(2) / xi on a sphere."""


class Head(Term):
    """The last layer eliminated by variable projection instead of trained."""

    ridge: Annotated[Float, Field(gt=0)] = 1e-2
    """The rho in gamma = rho tr(S_t) / D."""
    memory: Annotated[Float, Field(ge=0, le=1)] = 0.0
    """The factor on the weight of past batches at each step."""
    targets: Literal["onehot", "signed"] = "onehot"
    """The targets: 1 and 0, or 1 and -1."""


class Objective(Section):
    """The weighted sum that is minimised."""

    cross_entropy: Annotated[Float, Field(ge=0)] = 1.0
    """The weight of the cross-entropy of the scores; 0 = no last layer is trained."""
    nullspace: NullSpace = NullSpace(weight=0)
    intraclass_variance: IntraClass = IntraClass(weight=0)
    feed_backward: FeedBackwardTerm = FeedBackwardTerm(weight=0)
    separability: SeparabilityTerm = SeparabilityTerm(weight=0)
    contrastive: Contrastive = Contrastive(weight=0)
    varpro_head: Head = Head(weight=0)

    @field_validator("*", mode="before")
    @classmethod
    def _shorthand(cls, value: object, info: ValidationInfo) -> object:
        """Accept a plain number for a term with that weight."""
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        return {"weight": value} if plain and info.field_name != "cross_entropy" else value

    def active(self) -> dict[str, float]:
        """The weights of the terms that count, by name."""
        weights = {name: part.weight if isinstance(part, Term) else part for name, part in self}
        return {name: weight for name, weight in weights.items() if weight}


class Optimiser(Section):
    """How the parameters are updated."""

    kind: Literal["adam", "sgd"] = "adam"
    """The method: Adam, or gradient descent with momentum."""
    rate: Annotated[Float, Field(gt=0)] = 1e-3
    """The learning rate."""
    momentum: Annotated[Float, Field(ge=0, lt=1)] = 0.9
    """Momentum for SGD; beta1 for Adam."""
    weight_decay: Annotated[Float, Field(ge=0)] = 0.0
    """The L2 penalty, as PyTorch defines it for both methods."""
    decay_last_layer: Bool | None = None
    """Whether the penalty also applies to the last layer; null = yes, unless network.xi already restrains that
    layer."""
    milestones: tuple[Annotated[Int, Field(ge=1)], ...] = ()
    """The epochs after which the rate is multiplied by `factor`; those beyond the last epoch have no effect."""
    factor: Annotated[Float, Field(gt=0, le=1)] = 0.1
    """The factor on the rate at each milestone."""

    @field_validator("milestones")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(b <= a for a, b in pairwise(value)):
            raise ValueError("must rise, such as [100, 200]")
        return value


class Baseline(Section):
    """Cross-entropy alone on the same batches.  true and false stand for {enabled: ...}."""

    enabled: Bool = True
    """Whether to train it, with the same optimiser, batches and epochs."""
    name: NetworkName | None = None
    """Another network for it; null = the same one with a last layer, and without xi if xi is the only difference."""


class LayeredConfig(TrainingConfig):
    """The whole run of a network."""

    backend_key: ClassVar[str] = "device"
    network: NetworkKind
    objective: Objective = Objective()
    optimiser: Optimiser = Optimiser()
    batch: Annotated[Int, Field(ge=2)] = 128
    """The number of images per step, over all ranks; what is left at the end of an epoch waits for another one."""
    epochs: Annotated[Int, Field(ge=1)] = 10
    """The number of passes over the training images."""
    balanced: Bool = False
    """Whether every batch has equally many images of each class."""
    on_degenerate: Literal["raise", "skip", "ridge"] = "raise"
    """What to do with a batch that has no value: raise an error, skip it, or solve it in ridge mode; skipped and ridge
    batches are counted."""
    baseline: Baseline = Baseline()
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 0
    """The seed of the start, the batches and the dropout."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = cuda if PyTorch finds a GPU."""
    threads: Annotated[Int, Field(ge=1)] | None = None
    """The number of threads of each rank; null = its share of the cores."""
    output: str | None = None
    """The output folder; null = runs/<name of the config>."""

    @field_validator("baseline", mode="before")
    @classmethod
    def _shorthand(cls, value: object) -> object:
        return {"enabled": value} if isinstance(value, bool) else value

    def check_without_data(self) -> None:
        """Raise ConfigError for contradictions that show before any data are read."""
        objective, active = self.objective, self.objective.active()
        if not active:
            raise ConfigError(
                "every weight of the objective is 0: nothing would be trained; set objective.cross_entropy: 1"
            )
        if "cross_entropy" in active and "varpro_head" in active:
            raise ConfigError(
                "objective.cross_entropy trains the last layer and objective.varpro_head eliminates it; set one of the "
                "two weights to 0"
            )
        on_layer = [name for name in ("feed_backward", "separability") if name in active]
        if objective.feed_backward.eliminate and "feed_backward" in on_layer:
            on_layer.remove("feed_backward")
        if on_layer and "cross_entropy" not in active:
            remedy = ", or feed_backward.eliminate: true" if on_layer[0] == "feed_backward" else ""
            raise ConfigError(
                f"objective.{on_layer[0]} acts on the last layer, which objective.cross_entropy trains, and that "
                f"weight is 0; set it above 0{remedy}"
            )
        if active.keys() == {"separability"}:
            raise ConfigError("objective.separability alone teaches no class; set objective.cross_entropy above 0")
        if self.network.learnable_xi and self.network.xi is None:
            raise ConfigError("network.learnable_xi is true, but network.xi is empty; set the xi to begin with")

    def check_effect(self, overridden: Mapping[str, str]) -> None:
        """Raise ConfigError for an overridden key of a term whose weight is 0."""
        for key, origin in overridden.items():
            part, _, inner = key.removeprefix("objective.").partition(".")
            if key.startswith("objective.") and inner not in ("", "weight") and part not in self.objective.active():
                raise ConfigError(f"{origin}: has no effect, as objective.{part}.weight is 0; set that too")

    def _of_images(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """The shape as one of images.  Raises ConfigError for tensors of higher order."""
        if len(shape) != 3:
            raise ConfigError(
                f"network.name is {self.network.name}, but the data are tensors of {' x '.join(map(str, shape))}; "
                "networks of layers read images: drop the key network and set model.unit: multilinear"
            )
        return shape

    def plan(self, shape: tuple[int, ...], n_classes: int) -> "NetworkPlan":
        """The network for images of a shape, with a last layer if cross-entropy trains one.  Raises ConfigError."""
        options, name = self.network.model_dump(exclude={"name"}), self.network.name
        return NETWORKS[name].plan(
            name, self._of_images(shape), n_classes, **options, linear=self.objective.cross_entropy > 0
        )

    def check_with_data(self, n_train: int, n_classes: int, shape: tuple[int, ...]) -> None:
        """Raise ConfigError if the network cannot read these images or the batches cannot be made."""
        plan = self.plan(shape, n_classes)
        if self.baseline.enabled and self.baseline.name:
            NETWORKS[self.baseline.name].plan(self.baseline.name, self._of_images(shape), n_classes)
        if self.batch > n_train:
            raise ConfigError(f"batch is {self.batch}, but there are {n_train} training images; set batch <= {n_train}")
        if self.balanced and self.batch < PER_CLASS * n_classes:
            raise ConfigError(
                f"batch is {self.batch}, fewer than {PER_CLASS} of each of {n_classes} classes; "
                f"set batch >= {PER_CLASS * n_classes}, or balanced: false"
            )
        nullspace = self.objective.nullspace
        if nullspace.weight and nullspace.mode == "exact" and self.batch - n_classes >= plan.embedding:
            raise ConfigError(
                f"objective.nullspace.mode is exact, but no batch has a null space: batch - classes = "
                f"{self.batch - n_classes} >= {plan.embedding} features; set batch < {plan.embedding + n_classes}, a "
                "larger network.embedding, or mode: ridge"
            )
