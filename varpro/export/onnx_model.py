"""A trained network as an ONNX model, in single precision.

The vectors of the units are stored, and the graph makes their products: a runtime does that once, when it loads the
model, and the file stays as small as the network.  Forms on patches become convolutions, all others one matrix product.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from varpro import __version__
from varpro.arrays import Array
from varpro.errors import BackendError
from varpro.export.graph import Graph
from varpro.models.units.forms import Forms

Proto = Any
"""A part of a model as the package onnx makes it, which has types for few of them."""
OPSET, IR_VERSION = 17, 8
"""As old as the operators allow, so that runtimes since 2022 read the file."""


def require_onnx() -> None:
    """Raise BackendError if the package onnx is not installed."""
    if find_spec("onnx") is None:
        raise BackendError("--onnx needs the package onnx, not installed here; pip install 'varpro[onnx]'")


def onnx_model(graph: Graph) -> Proto:
    """The ModelProto of a network whose weights are floats.

    Input `images` (N, *shape) float32 in [0, 1]; outputs `scores` (N, K), `labels` (N,) int64 and, if the network is
    calibrated, `probabilities` (N, K).
    """
    import onnx

    made = _Nodes()
    columns = [made.columns(form, graph.shape) for form in graph.forms]
    phi = made.node("Concat", columns, axis=1) if len(columns) > 1 else columns[0]
    layer = made.constant(graph.layer * graph.scale)
    made.node("Add", [made.node("MatMul", [phi, layer]), made.constant(graph.constant)], name="scores")
    made.node("ArgMax", ["scores"], name="labels", axis=1, keepdims=0)
    proto, k = onnx.TensorProto, graph.n_classes
    outputs: list[tuple[str, Proto, list[str | int]]] = [
        ("scores", proto.FLOAT, ["N", k]),
        ("labels", proto.INT64, ["N"]),
    ]
    if graph.calibration is not None:
        weights, biases = made.constant(graph.calibration[:-1]), made.constant(graph.calibration[-1])
        logits = made.node("Add", [made.node("MatMul", ["scores", weights]), biases])
        made.node("Softmax", [logits], name="probabilities", axis=1)
        outputs.append(("probabilities", proto.FLOAT, ["N", k]))
    info = onnx.helper.make_tensor_value_info
    whole = onnx.helper.make_graph(
        made.nodes,
        "varpro",
        [info("images", proto.FLOAT, ["N", *graph.shape])],
        [info(name, kind, shape) for name, kind, shape in outputs],
        made.initializers,
    )
    model = onnx.helper.make_model(
        whole,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="varpro",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(model, {"classes": "\n".join(graph.class_names), "dataset": graph.dataset})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Nodes:
    """The nodes and stored tensors of a graph as it grows."""

    def __init__(self) -> None:
        self.nodes: list[Proto] = []
        self.initializers: list[Proto] = []

    def constant(self, values: Array) -> str:
        """The name of a stored tensor: floats in single precision, or int64."""
        import onnx

        kept = values if values.dtype == np.int64 else values.astype(np.float32)
        name = f"c{len(self.initializers)}"
        self.initializers.append(onnx.numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], name: str | None = None, **attributes: Any) -> str:
        """The name of what an operator gives."""
        import onnx

        name = name or f"n{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def columns(self, form: Forms, shape: tuple[int, ...]) -> str:
        """The columns (N, I cells) of some units."""
        bias = self.constant(form.bias)
        if form.slide is None:
            matrices = self.node("Reshape", [self.products(form), self.constant(np.array([-1, form.count]))])
            flat = self.node("Flatten", ["images"], axis=1)
            return self.squashed(self.node("Add", [self.node("MatMul", [flat, matrices]), bias]), form)
        (rows, across), (high, wide) = form.slide.padding, form.slide.patch
        shaped = self.constant(np.array([shape[0], high, wide, form.count]))
        filters = self.node("Transpose", [self.node("Reshape", [self.products(form), shaped])], perm=[3, 0, 1, 2])
        q = self.node(
            "Conv", ["images", filters, bias], strides=[form.slide.stride] * 2, pads=[rows, across, rows, across]
        )
        values = self.squashed(q, form)
        down, over = self.constant(form.slide.down), self.constant(form.slide.across.T)
        return self.node("Flatten", [self.node("MatMul", [self.node("MatMul", [down, values]), over])], axis=1)

    def products(self, form: Forms) -> str:
        """sum_t f_t u_t1 x u_t2 x .., (d_1, d_2, .., I)."""
        total = None
        for term, factor in zip(form.terms, form.factors, strict=True):
            product = None
            for j, vector in enumerate(term):
                alone = [1] * j + [len(vector)] + [1] * (len(term) - 1 - j)
                stored = self.constant((vector if j else vector * factor).reshape(*alone, form.count))
                product = stored if product is None else self.node("Mul", [product, stored])
            assert product is not None
            total = product if total is None else self.node("Add", [total, product])
        assert total is not None
        return total

    def squashed(self, q: str, form: Forms) -> str:
        """sigma(q)."""
        plain = {"tanh": "Tanh", "logistic": "Sigmoid", "softplus": "Softplus"}
        if form.squash in plain:
            return self.node(plain[form.squash], [q])
        square = self.node("Mul", [q, q])
        if form.squash == "square":
            return square
        return self.node("Sqrt", [self.node("Add", [square, self.constant(np.array(form.smoothing))])])
