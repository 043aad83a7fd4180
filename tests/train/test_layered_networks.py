"""The networks as PyTorch modules: sizes as planned, features and scores, last layers, files."""

import h5py
import numpy as np
import pytest

import varpro
from varpro.errors import DataError, ShapeError

torch = pytest.importorskip("torch", reason="torch is not installed")

from tests.train.test_architectures import PUBLISHED  # noqa: E402
from varpro.train.layered.network import build  # noqa: E402
from varpro.train.layered.plan import plan_network  # noqa: E402
from varpro.train.layered.storage import load_layered, save_layered  # noqa: E402

torch.set_num_threads(1)


@pytest.mark.parametrize(("name", "shape", "embedding", "parameters"), PUBLISHED)
def test_modules_have_the_planned_parameters_and_features(name, shape, embedding, parameters):
    with torch.device("meta"):  # nothing is allocated
        network = build(name, shape, 10)
        features, scores = network.eval()(torch.zeros(3, *shape))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert features.shape == (3, embedding)
    assert (scores is None) == name.startswith("nullspace")
    if scores is not None:
        assert scores.shape == (3, 10)


@pytest.mark.parametrize("name", ["simplenet_small", "intraclass_light", "nullspace_small"])
def test_odd_images_and_options(name):
    plan = plan_network(name, (2, 9, 13), 7, embedding=5, xi=4.0, learnable_xi=True, linear=True)
    network = build(name, (2, 9, 13), 7, embedding=5, xi=4.0, learnable_xi=True, linear=True)
    assert sum(p.numel() for p in network.parameters()) == plan.parameters
    features, scores = network(torch.rand(3, 2, 9, 13))
    torch.testing.assert_close(features.norm(dim=1), torch.full((3,), 0.25), rtol=1e-3, atol=0)
    torch.testing.assert_close(scores, features @ network.last.weight.T + network.last.bias)
    assert network.xi == pytest.approx(4.0)


def test_channels_last_gives_the_same_features():
    """Flattening must not see how the memory lies."""
    network = build("nullspace_small", (1, 12, 12), 3).eval()
    images = torch.rand(5, 1, 12, 12)
    expected = network(images)[0]
    network.to(memory_format=torch.channels_last)
    found = network(images.contiguous(memory_format=torch.channels_last))[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_last_layer_that_was_solved_for():
    network = build("nullspace_small", (1, 8, 8), 3, embedding=4).eval()
    assert network(torch.rand(2, 1, 8, 8))[1] is None
    a = np.arange(15.0).reshape(5, 3)
    network.set_last(a)
    features, scores = network(torch.rand(2, 1, 8, 8))
    expected = features.detach().numpy() @ a[:-1] + a[-1]
    np.testing.assert_allclose(scores.detach().numpy(), expected, rtol=1e-5)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    network = build("intraclass_light", (1, 8, 10), 3, embedding=3, xi=0.5, linear=True)
    network.train()
    network(torch.rand(9, 1, 8, 10))  # running means that are not those of a new network
    path = tmp_path / "model.h5"
    save_layered(path, network, ("a", "b", "c"), "made up")
    return network.eval(), path


def test_a_file_gives_the_same_scores(saved):
    network, path = saved
    model = varpro.load(path)
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 10), dtype=np.uint8)
    features, scores = network(torch.from_numpy(images[:, None]).float() / 255)
    eps = np.finfo(np.float32).eps
    np.testing.assert_allclose(model.scores(images), scores.detach().numpy(), atol=64 * eps)
    np.testing.assert_allclose(model.scores(images / 255.0), scores.detach().numpy(), atol=64 * eps)
    np.testing.assert_allclose(model.features(images), features.detach().numpy(), atol=64 * eps)
    np.testing.assert_array_equal(model.predict(images), scores.argmax(dim=1))
    assert model.predict(images[:0]).shape == (0,)
    assert (model.class_names, model.dataset) == (("a", "b", "c"), "made up")
    with pytest.raises(ShapeError, match=r"this network reads \(1, 8, 10\)"):
        model.predict(images[:, :7])
    with pytest.raises(DataError, match="divide by the largest"):
        model.predict(images.astype(float))


def test_equal_networks_write_equal_files(saved, tmp_path):
    network, path = saved
    save_layered(tmp_path / "again.h5", network, ("a", "b", "c"), "made up")
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("damage", ["name", "missing", "shape", "attribute"])
def test_damaged_files(saved, damage):
    path = saved[1]
    with h5py.File(path, "a") as file:
        if damage == "name":
            file.attrs["network"] = "lenet"
        elif damage == "missing":
            del file["parameters/last.bias"]
        elif damage == "shape":
            del file["parameters/last.bias"]
            file["parameters/last.bias"] = np.zeros(4, np.float32)
        else:
            del file.attrs["embedding"]
    with pytest.raises(DataError, match="not a model file of varpro-train, or damaged") as caught:
        load_layered(path)
    assert "\n" not in str(caught.value)
