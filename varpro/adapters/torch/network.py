"""A trained network of units as a PyTorch module, whose parameters can be trained further."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from varpro.arrays import Array
from varpro.errors import ConfigError
from varpro.export.graph import Graph
from varpro.models.units.forms import Forms

if TYPE_CHECKING:
    from varpro.train.model_file import TrainedModel


class NetworkModule(torch.nn.Module):
    """Scores (N, K) of images (N, C, L, R) or tensors (N, d1, .., dk): bytes, or floats in [0, 1].

    Its parameters are the vectors and biases of the units and the linear layer, in float32; `class_names` names the
    outputs.  Vectors of local units are as long as the image, with zeros outside their windows.
    """

    calibration: torch.Tensor | None

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.class_names, self.dataset, self.shape = graph.class_names, graph.dataset, graph.shape
        self.units = torch.nn.ModuleList(UnitsModule(form, graph.shape) for form in graph.forms)
        self.layer = torch.nn.Parameter(_tensor(graph.layer * graph.scale))
        self.constant = torch.nn.Parameter(_tensor(graph.constant))
        calibration = None if graph.calibration is None else _tensor(graph.calibration)
        self.register_buffer("calibration", calibration)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images if images.is_floating_point() else images.to(self.layer.dtype) / 255
        return torch.cat([units(x) for units in self.units], dim=1) @ self.layer + self.constant

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities (N, K).  Raises ConfigError if the network was trained without validation images."""
        if self.calibration is None:
            raise ConfigError("this network has no calibration; train it with data.validation, or use its scores")
        logits: torch.Tensor = self(images) @ self.calibration[:-1] + self.calibration[-1]
        return torch.softmax(logits, dim=1)

    def extra_repr(self) -> str:
        return f"{' x '.join(map(str, self.shape))} pixels, {len(self.class_names)} classes of {self.dataset}"


class UnitsModule(torch.nn.Module):
    """The columns (N, I cells) of units of one form."""

    factors: torch.Tensor
    down: torch.Tensor
    across: torch.Tensor

    def __init__(self, form: Forms, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.squash, self.smoothing, self.slide, self.planes = form.squash, form.smoothing, form.slide, shape[0]
        self.vectors = torch.nn.ParameterList(torch.nn.Parameter(_tensor(vector)) for vector in form.vectors)
        place = {id(vector): number for number, vector in enumerate(form.vectors)}
        self.terms = [[place[id(vector)] for vector in term] for term in form.terms]
        self.bias = torch.nn.Parameter(_tensor(form.bias))
        self.register_buffer("factors", _tensor(form.factors))
        if form.slide is not None:
            self.register_buffer("down", _tensor(form.slide.down))
            self.register_buffer("across", _tensor(form.slide.across.T))

    def matrices(self) -> torch.Tensor:
        """sum_t f_t u_t1 x u_t2 x .., flattened row by row, (d_1 d_2 .., I)."""
        total = torch.zeros((), dtype=self.bias.dtype, device=self.bias.device)
        for numbers, factor in zip(self.terms, self.factors, strict=True):
            product = self.vectors[numbers[0]] * factor
            for number in numbers[1:]:
                product = (product[:, None] * self.vectors[number]).flatten(0, 1)
            total = total + product
        return total

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.slide is None:
            return self.sigma(x.flatten(1) @ self.matrices() + self.bias)
        filters = self.matrices().T.reshape(len(self.bias), self.planes, *self.slide.patch)
        q = torch.nn.functional.conv2d(x, filters, self.bias, stride=self.slide.stride, padding=self.slide.padding)
        return (self.down @ self.sigma(q) @ self.across).flatten(1)

    def sigma(self, q: torch.Tensor) -> torch.Tensor:
        """sigma(q)."""
        if self.squash == "smooth_abs":
            return torch.sqrt(q * q + self.smoothing)
        if self.squash == "softplus":
            return torch.nn.functional.softplus(q)
        return {"tanh": torch.tanh, "logistic": torch.sigmoid, "square": torch.square}[self.squash](q)


def network(model: "TrainedModel") -> NetworkModule:
    """A model that `varpro.load` has read, as a PyTorch module.

    Parameters
    ----------
    model : what `varpro.load` returns
        A network of units, of any of varpro's kinds.

    Returns
    -------
    NetworkModule
        ``module(images)`` gives scores (N, K) for images (N, C, L, R), bytes or floats in [0, 1], and
        ``module.probabilities(images)`` calibrated probabilities.  Its parameters are float32 and can be trained.

    Raises
    ------
    ConfigError
        If the units are code of your own, or the model consists of PyTorch layers already.

    Examples
    --------
    >>> import torch, varpro
    >>> from varpro.adapters.torch import network
    >>> module = network(varpro.load("runs/mnist_tiny/model.h5"))  # doctest: +SKIP
    >>> module(torch.zeros(1, 1, 28, 28)).shape  # doctest: +SKIP
    torch.Size([1, 10])
    """
    return NetworkModule(Graph.of(model))


def save_program(module: NetworkModule, path: Path) -> None:
    """Write a module as a file that PyTorch alone can read: `torch.export.load(path).module()` gives scores for any
    number of images, floats in [0, 1].  Raises OSError."""
    images = torch.zeros(2, *module.shape)
    sizes = {"images": {0: torch.export.Dim("N", min=1)}}
    with path.open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about weights on devices, which these are not
        torch.export.save(torch.export.export(module.eval(), (images,), dynamic_shapes=sizes), file)


def _tensor(values: Array) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)
