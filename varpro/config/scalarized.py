"""The config of a scalarized run: its keys, and which of them contradict each other."""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from varpro.config.sections import Bool, Float, Int, Section, TrainingConfig, Tree, strict_float
from varpro.config.source import validated
from varpro.config.units import ModelSection
from varpro.errors import ConfigError
from varpro.models.units import is_path
from varpro.models.units.check import check_kind


class Search(Section):
    """The search of each sub-network."""

    iterations: Annotated[Int, Field(ge=0)] = 15
    """The most Gauss-Newton matrices, or gradients, per sub-network."""
    cost_tolerance: Annotated[Float, Field(ge=0)] = 3e-3
    """The relative decrease (f_old - f_new) / f_old below which a search stops."""
    jacobian: Literal["golub-pereyra", "kaufman"] = "golub-pereyra"
    """Whether the Gauss-Newton matrix uses the full derivative of the projected residual or omits its part in
    range(Phi)."""
    gn_precision: Literal["fp64", "fp32", "tf32"] = "fp64"
    """The precision of D and D^T D; values, residual, gradient sums and the acceptance test are always fp64.  tf32
    rounds the factors of D^T D to ten bits, on a GPU only."""
    ridge: Annotated[Float, Field(ge=0)] = 0.0
    """The mu in 1/2 ||Y - Phi A||^2 + mu/2 ||A||^2."""
    rank_tolerance: Annotated[Float, Field(gt=0, lt=1)] | None = None
    """The size, relative to the largest, below which singular values of Phi count as zero; null = max(N, I) eps."""
    initial_damping: Annotated[Float, Field(gt=0)] = 0.1
    """The lambda of the first step, in units of diag(H); of steepest descent, in units of ||g||^2 / f."""
    method: Literal["levenberg-marquardt", "gradient", "derivative-free"] = "levenberg-marquardt"
    """How each sub-network is searched: by the Gauss-Newton matrix with damping, by steepest descent, or by Powell's
    method on values alone."""
    evaluations: Annotated[Int, Field(ge=1)] = 1000
    """The most evaluations of a derivative-free search, for each sub-network."""
    squash: Bool = False
    """Whether outputs pass a sigmoid before they are compared with the labels, for gradient and derivative-free."""

    def idle_keys(self) -> dict[str, str]:
        """The keys that the method does not read, and why."""
        words = f"search.method is {self.method}"
        unread = {
            "levenberg-marquardt": ("evaluations",),
            "gradient": ("evaluations", "jacobian"),
            "derivative-free": ("iterations", "jacobian", "gn_precision", "initial_damping"),
        }
        return {f"search.{name}": words for name in unread[self.method]}


def _auto_or_number(value: object) -> object:
    if value == "auto":
        return value
    number = strict_float(value)
    if not (isinstance(number, int | float) and 0 <= number < float("inf")):
        raise ValueError("must be auto or a number >= 0")
    return float(number)


class Glue(Section):
    """The global linear layer.  A plain word, such as tsqr, stands for {method: tsqr}."""

    method: Literal["gram", "tsqr", "cg"] = "gram"
    """Cholesky of Phi^T Phi; orthogonal factorisation and a truncated SVD, for ill-conditioned Phi; or conjugate
    gradients, where Phi^T Phi does not fit into memory."""
    loss: Literal["squares", "cross_entropy"] = "squares"
    """What the layer minimises: squares of the outputs' errors, or the cross-entropy of their softmax, by Newton's
    method, which holds Phi in memory."""
    ridge: Annotated[Literal["auto"] | float, BeforeValidator(_auto_or_number)] = "auto"
    """The mu in 1/2 ||Y - Phi A||^2 + mu/2 ||A||^2, or beside the sum of the cross-entropy; auto = chosen on the
    validation images."""
    precision: Literal["fp32", "fp64"] = "fp64"
    """The precision of Phi and of Phi^T Phi within a block of rows; sums over the blocks are always fp64.  fp32 takes
    half the time and is enough for ridges above 1e-7 of the mean diagonal, as all candidates then are."""
    block_rows: Annotated[Int, Field(ge=1)] = 2000
    """The number of images held as rows of Phi at a time: memory is this times all units times 8 bytes."""
    memory: Annotated[Float, Field(ge=0)] = 1.0
    """The most memory in GB, over all ranks, for Phi of a whole part of the data on CPUs, where it then is computed
    once; where it would take more, each pass over the rows computes it again."""


Variant = Literal["paper", "argmax", "confident-only", "soft", "linear", "average"]


class Bootstrap(Section):
    """Guessing the test labels and training on them, section 5 of the paper.  true and false stand for {enabled: ...},
    the name of a variant for {variant: ...}; a key below it turns it on."""

    enabled: Bool = True
    """Whether to bootstrap; a config without `bootstrap` does not."""
    variant: Variant = "paper"
    """What is fitted to the test images.  paper: their largest outputs, or random labels where these are ambiguous;
    argmax: the largest outputs; confident-only: the same without ambiguous images; soft: calibrated probabilities;
    linear: argmax with the trained units, only the linear layer is new; average: argmax, then the mean of the outputs
    before and after."""
    margin: Annotated[Float, Field(ge=0, lt=1)] = 0.2
    """The margin in v1 - v2 > margin v1, with v1 and v2 the largest outputs, above which a guess is sure."""
    rounds: Annotated[Int, Field(ge=1)] = 1
    """The number of times that labels are guessed and trained on, each time by the network of the round before."""


class Refine(Section):
    """Gauss-Newton-CG on the whole network.  true and false stand for {enabled: ...}; a key below it turns it on."""

    enabled: Bool = True
    """Whether to refine; a config without `refine` does not."""
    loss: Literal["squares", "cross_entropy"] = "squares"
    """What is minimised: squares of the outputs' errors, or the cross-entropy of their softmax."""
    iterations: Annotated[Int, Field(ge=1)] = 10
    """The most accepted steps."""
    first_rows: Annotated[Int, Field(ge=1)] = 15000
    """The number of images in the first step's sample."""
    growth: Annotated[Float, Field(ge=1)] = 1.5
    """The factor on the sample after each accepted step, until it has every image."""
    fresh: Bool = False
    """Whether each sample consists of images that the one before did not have, in place of the same ones and more."""
    products: Annotated[Int, Field(ge=1)] = 10
    """The most conjugate-gradient products per step."""
    ridge: Annotated[Float, Field(gt=0)] = 1e-5
    """The ridge mu for each image in the sample."""
    jacobian: Literal["golub-pereyra", "kaufman"] = "kaufman"
    """The Gauss-Newton matrix; Kaufman's costs K image passes less per step and gets as far."""
    step: Literal["conjugate-gradients", "exact"] = "conjugate-gradients"
    """How a step is found: by products with the Gauss-Newton matrix, or from the whole matrix of all parameters."""
    precision: Literal["fp32", "fp64"] = "fp32"
    """The precision of the products; Gram matrix and sums are always fp64."""
    memory: Annotated[Float, Field(ge=0)] = 4.0
    """The most memory in GB, over all ranks, for the Jacobian of Phi A, whose products then cost almost nothing; where
    it would take more, products come from the images."""
    initial_damping: Annotated[Float, Field(gt=0)] = 1e-2
    """lambda of the first step, relative to the diagonal of the Gauss-Newton matrix."""
    damping_floor: Annotated[Float, Field(gt=0)] = 1e-4
    """The least lambda: without a floor, each step on a sample would fit that sample."""


class Prune(Section):
    """Dropping units of the trained network.  true and false stand for {enabled: ...}; a key below it turns it on."""

    enabled: Bool = True
    """Whether to drop units; a config without `prune` does not."""
    loss: Annotated[Float, Field(ge=0)] = 0.1
    """The most that the accuracy on the validation images may fall, in percentage points."""
    units: Annotated[Int, Field(ge=1)] | None = None
    """The number of units to keep, whatever is lost; null = as few as `loss` allows."""


_SHORT: dict[str, dict[str, tuple[object, ...]]] = {
    "glue": {"method": ("gram", "tsqr", "cg")},
    "bootstrap": {"enabled": (True, False), "variant": get_args(Variant)},
    "refine": {"enabled": (True, False)},
    "prune": {"enabled": (True, False)},
}
"""The words that may stand for a section, by the key that they set."""


class ScalarizedConfig(TrainingConfig):
    """A whole run.  `subnetworks` x (`units`, `samples`) is the partition."""

    model: ModelSection = ModelSection()
    subnetworks: Annotated[Int, Field(ge=0)] = 104
    """The number of independent networks that are trained, then glued; 0 = one network of `units` random units, for
    `refine` or, with `control: false`, for the linear layer alone."""
    units: Annotated[Int, Field(ge=1)] = 50
    """The number of units in each sub-network."""
    samples: Annotated[Int, Field(ge=2)] = 2000
    """The number of images in each sub-network's mini-batch, drawn at random."""
    search: Search = Search()
    glue: Glue = Glue()
    bootstrap: Bootstrap = Bootstrap(enabled=False)
    refine: Refine = Refine(enabled=False)
    prune: Prune = Prune(enabled=False)
    control: Bool = True
    """Whether to glue the same units untrained, too, and report them beside the trained ones."""
    reproducible: Bool = False
    """Whether sums over rows have the same bits for any number of ranks."""
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 0
    """The seed of every random draw: mini-batches, starts, windows, guesses."""
    backend: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = on a GPU if one is available and has a kernel for the units."""
    device: Annotated[Int, Field(ge=0)] | None = None
    """The number of the GPU; null = the ranks of a node take its GPUs in turn."""
    output: str | None = None
    """The output folder; null = runs/<name of the config>."""

    @field_validator("glue", "bootstrap", "refine", "prune", mode="before")
    @classmethod
    def _shorthand(cls, value: object, info: ValidationInfo) -> object:
        """Accept a plain word or boolean for a section."""
        keys = _SHORT[info.field_name or ""]
        for key, words in keys.items():
            if isinstance(value, bool | str) and value in words:
                return {key: value}
        if value is None or isinstance(value, dict | Section):
            return value
        listed = [str(word).lower() for words in keys.values() for word in words]
        raise ValueError(f"must be one of {', '.join(listed)}, or a mapping of keys to values")

    def check_without_data(self) -> None:
        """Raise ConfigError for contradictions that show before any data are read."""
        if self.glue.loss == "cross_entropy" and self.glue.method != "gram":
            raise ConfigError(
                f"glue.loss is cross_entropy, which has no glue.method: {self.glue.method}; remove one of the two"
            )
        if self.refine.loss == "cross_entropy":
            self._check_entropy_steps()
        if self.subnetworks == 0 and not self.refine.enabled and self.control:
            raise ConfigError(
                "subnetworks is 0 and refine is off: nothing would be trained but the linear layer; set refine: true "
                "or subnetworks >= 1, or control: false if random units are what you want"
            )
        if self.search.squash and self.search.method == "levenberg-marquardt":
            raise ConfigError(
                "search.squash is true, but the Gauss-Newton matrix is that of the plain residual; "
                "set search.method: gradient or derivative-free, or squash: false"
            )
        self._require_more_samples_than(self.units)

    def _check_entropy_steps(self) -> None:
        for key, value, only in (
            ("jacobian", self.refine.jacobian, "kaufman"),
            ("step", self.refine.step, "conjugate-gradients"),
        ):
            if value != only:
                raise ConfigError(
                    f"refine.loss is cross_entropy, which has no refine.{key}: {value}; remove it, or set {only}"
                )

    def check_effect(self, overridden: Mapping[str, str]) -> None:
        """Raise ConfigError for an overridden key of a section that is off."""
        for key, origin in overridden.items():
            section, _, inner = key.partition(".")
            if inner not in ("", "enabled") and getattr(getattr(self, section), "enabled", True) is False:
                raise ConfigError(f"{origin}: has no effect, as {section}.enabled is false; set that to true too")
            if key in self.search.idle_keys():
                raise ConfigError(f"{origin}: has no effect, as {self.search.idle_keys()[key]}; leave it out")

    def check_with_data(self, n_train: int, n_classes: int, shape: tuple[int, ...]) -> None:
        """Raise ConfigError if the units cannot read images of a shape, or the partition is impossible for n_train."""
        if len(shape) != 3 and not self.model.kind.any_order:
            raise ConfigError(
                f"model.unit is {self.model.unit}, but the data are tensors of {' x '.join(map(str, shape))}; "
                "set model.unit: multilinear, which reads any number of dimensions"
            )
        if self.subnetworks and self.samples > n_train:
            remedy = (
                f"set samples <= {n_train}"
                if n_train > self.units
                else (f"use more images, or fewer units: units < {n_train}, and samples <= {n_train}")
            )
            raise ConfigError(f"samples is {self.samples}, but there are {n_train} training images; {remedy}")
        if self.subnetworks and self.samples < n_classes:
            raise ConfigError(
                f"samples is {self.samples}, fewer than the {n_classes} classes; raise it to several times {n_classes}"
            )
        self.model.kind.check(shape, self.model.options)
        if is_path(self.model.unit):
            check_kind(self.model.kind, shape, self.model.options, self.model.sigma)
        columns = self.model.kind.size_of_one(shape, self.model.options).columns
        self._require_more_samples_than(self.units * columns)
        whole = self.units * max(self.subnetworks, 1) * columns + 1
        if self.glue.method == "gram" and self.glue.ridge == 0 and whole > n_train:
            raise ConfigError(
                f"glue.ridge is 0, and {whole} columns of Phi are more than the {n_train} training images, so the "
                "linear layer is not determined; set glue.ridge: auto, glue: tsqr, or lower units"
            )

    def _require_more_samples_than(self, columns: int) -> None:
        if self.subnetworks and columns + 1 > self.samples:
            raise ConfigError(
                f"units is {self.units} and samples {self.samples}: a sub-network needs more images than units "
                f"(with the constant, at least {columns + 1}); lower units or raise samples"
            )


def parse_config(tree: Tree, where: str) -> ScalarizedConfig:
    """Validate a plain mapping; `where` begins an error.  Raises ConfigError."""
    return validated(ScalarizedConfig, tree, where)
