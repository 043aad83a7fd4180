"""What a figure of a network is learnt from and what it is measured on: training features, test images, eval mode."""

import numpy as np
import pytest

from varpro.distributed import SerialCommunicator

torch = pytest.importorskip("torch", reason="torch is not installed")

from varpro.config.layered import LayeredConfig  # noqa: E402
from varpro.report.progress import Display  # noqa: E402
from varpro.train.data.parts import DataSet, Part  # noqa: E402
from varpro.train.data.prepared import Prepared  # noqa: E402
from varpro.train.layered import evaluation, pictures  # noqa: E402
from varpro.train.layered.evaluation import Passed  # noqa: E402
from varpro.train.layered.layers import Dense, Dropout, Flatten, Relu  # noqa: E402
from varpro.train.layered.network import LayeredNetwork  # noqa: E402
from varpro.train.layered.objective import WeightedSum  # noqa: E402
from varpro.train.layered.plan import NetworkPlan, plan_network  # noqa: E402
from varpro.train.layered.trainer import train  # noqa: E402
from varpro.train.layered.training import Images, Loop  # noqa: E402

torch.set_num_threads(1)
COMM = SerialCommunicator()
CENTRES = np.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 5.0]])


def features(n, seed, moved=0):
    """Clouds around the centre of their class, or of the class `moved` places further."""
    labels = np.arange(n) % 3
    rows = CENTRES[(labels + moved) % 3] + 0.3 * np.random.default_rng(seed).standard_normal((n, 3))
    return Passed(rows.astype(np.float32), None, labels)


RULES = ("nearest_centroid", "nearest_centroid_normalised", "discriminant")


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_learnt_from_the_training_features_alone(rule):
    """Test features where another class was trained are all wrong; by their own means they would be right."""
    train = features(100, 0)
    assert evaluation.of_features(train, features(50, 1))[rule] == 1.0
    assert evaluation.of_features(train, features(50, 1, moved=1))[rule] == 0.0


def test_scatter_and_retrieval_are_of_the_test_features_alone():
    train, test = features(100, 0), features(50, 1)
    noise = Passed(np.random.default_rng(2).standard_normal((100, 3)).astype(np.float32), None, train.labels)
    found, other = (evaluation.of_features(part, test) for part in (train, noise))
    for name in ("scatter_ratio", "recall_at_1", "true_positives_at_10", "eigenvalues"):
        assert found[name] == other[name]
    assert found["scatter_ratio"] < 0.1


def test_learned_centroids_are_read_as_they_are():
    test = features(50, 1)
    assert evaluation.of_features(features(9, 0), test, learned=CENTRES)["nearest_learned_centroid"] == 1.0
    assert evaluation.of_features(features(9, 0), test, learned=CENTRES[[1, 2, 0]])["nearest_learned_centroid"] == 0.0


def blobs(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    images = rng.integers(0, 90, (n, 8, 9), dtype=np.uint8)
    for k, (row, column) in enumerate(((0, 0), (0, 5), (4, 0))):
        images[labels == k, row : row + 4, column : column + 4] += 150
    return Part(images, labels)


@pytest.mark.parametrize("objective", [{"cross_entropy": 1.0}, {"cross_entropy": 0, "nullspace": {"ridge": 0.1}}])
def test_a_job_learns_nothing_from_the_labels_of_the_test_part(objective, monkeypatch):
    """With every test label exchanged for the next, what was right is wrong, in every figure and on every line."""
    monkeypatch.setattr(pictures, "neighbour_plane", lambda points, seed: (points[:, :2], "features"))  # t-SNE is slow
    test = blobs(60, 1)
    config = LayeredConfig.model_validate(
        {
            "data": {"source": "made up", "validation": 20},
            "network": {"name": "simplenet_small", "embedding": 6},
            "objective": objective,
            "baseline": False,
            "batch": 40,
            "epochs": 5,
            "threads": 1,
            "optimiser": {"rate": 5e-3},
        }
    )
    found = []
    for labels in (test.labels, (test.labels + 1) % 3):
        dataset = DataSet("blobs", blobs(161, 0), Part(test.images, labels), ("a", "b", "c"))
        found.append(train(Prepared.of(config, dataset), COMM, display=Display())[0])
    right, wrong = (record.metrics["test"] for record in found)
    for name in ("accuracy", *RULES):
        assert right[name] > 0.9
        assert wrong[name] < 0.1
    assert found[0].metrics["train"] == found[1].metrics["train"]
    assert found[0].metrics["validation"] == found[1].metrics["validation"]
    for name in RULES:
        start = (record.metrics["untrained"]["test"][name] for record in found)
        assert next(start) > next(start) + 0.3
    lines = [record.history[-1] for record in found]
    for name in ("test_accuracy", "nearest_centroid"):
        assert lines[0][name] > 0.9
        assert lines[1][name] < 0.1


def test_the_dense_layers_of_vgg16_drop_half_and_nothing_else_does():
    body = plan_network("vgg16_fc", (3, 32, 32), 10).body
    dense = body[next(i for i, layer in enumerate(body) if isinstance(layer, Flatten)) + 1 :]
    assert dense == (Dense(4096), Relu(), Dropout(0.5)) * 2
    assert sum(isinstance(layer, Dropout) for layer in body) == 2


def dropping(share=0.5):
    torch.manual_seed(0)
    return LayeredNetwork(NetworkPlan("it", (1, 40, 50), 3, (Flatten(), Dropout(share)), False))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_dropout_zeroes_its_share_in_training_and_scales_the_rest(share):
    network = dropping(share).train()
    out = network(torch.ones(5, 1, 40, 50))[0]
    assert set(np.unique(out.numpy()).round(6)) == {0.0, np.float32(1 / (1 - share)).round(6)}
    assert abs(float((out == 0).float().mean()) - share) < 4 * np.sqrt(share * (1 - share) / 10_000)


def test_what_is_measured_has_no_dropout():
    network = dropping().train()
    images = Images(torch.rand(7, 1, 40, 50), torch.zeros(7, dtype=torch.int64))
    found = evaluation.pass_through(network, images, COMM)
    np.testing.assert_array_equal(found.features, images.pixels.flatten(1).numpy())


def test_a_training_drops_and_says_nothing_of_it_to_the_measurements_between():
    config = LayeredConfig.model_validate(
        {"data": {"source": "x"}, "network": {"name": "simplenet_small"}, "batch": 7, "epochs": 2, "threads": 1}
    )
    network = LayeredNetwork(NetworkPlan("it", (1, 40, 50), 3, (Flatten(), Dropout(0.5), Dense(4)), True))
    images = Images(torch.ones(14, 1, 40, 50), torch.arange(14) % 3)
    seen = []
    network.body[1].register_forward_hook(lambda module, given, out: seen.append(float((out == 0).float().mean())))
    terms = WeightedSum(config, config.objective, 3, 4, COMM)

    def look(epoch):
        evaluation.pass_through(network, images, COMM)
        return {}

    Loop(config, COMM, network, terms, images, "training").run(Display(), look)
    assert len(seen) == 3 + 4  # before, after two epochs; two batches an epoch
    assert [round(share, 1) for share in seen] == [0.0, 0.5, 0.5, 0.0, 0.5, 0.5, 0.0]
