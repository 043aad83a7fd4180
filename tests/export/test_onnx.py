"""An ONNX model gives what the model gives, in ONNX Runtime."""

import numpy as np
import pytest

from tests.export.networks import CASES, close, images_of, network_of
from varpro.export.graph import Graph
from varpro.export.onnx_model import onnx_model

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_agrees_with_the_model(name):
    network, images = network_of(name), images_of(name)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(onnx_model(Graph.of(network)).SerializeToString(), options)
    pixels = (images / 255.0).astype(np.float32)
    scores, labels, probabilities = session.run(["scores", "labels", "probabilities"], {"images": pixels})
    close(scores, network.scores(images))
    close(probabilities, network.predict_proba(images))
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))
    assert session.run(["scores"], {"images": pixels[:1]})[0].shape == (1, 3)


def test_a_model_says_what_it_is():
    model = onnx_model(Graph.of(network_of("quadratic")))
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert props == {"classes": "\n".join(network_of("quadratic").class_names), "dataset": "made */ up"}
    assert model.producer_name == "varpro"
