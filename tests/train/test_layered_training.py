"""Training networks: the loop, its policies, what is measured of them, and the whole job."""

import numpy as np
import pytest

from varpro import losses
from varpro.distributed import SerialCommunicator
from varpro.errors import DegenerateBatchError, NonFiniteError

torch = pytest.importorskip("torch", reason="torch is not installed")

from varpro.config.layered import LayeredConfig  # noqa: E402
from varpro.report.progress import Display  # noqa: E402
from varpro.train.data.parts import DataSet, Part  # noqa: E402
from varpro.train.data.prepared import Prepared  # noqa: E402
from varpro.train.layered import evaluation  # noqa: E402
from varpro.train.layered.evaluation import Passed  # noqa: E402
from varpro.train.layered.network import LayeredNetwork  # noqa: E402
from varpro.train.layered.objective import WeightedSum  # noqa: E402
from varpro.train.layered.trainer import train  # noqa: E402
from varpro.train.layered.training import Images, Loop, batches, make_optimiser, n_batches, settle_norms  # noqa: E402

torch.set_num_threads(1)
COMM = SerialCommunicator()


def config_of(**changes):
    base = {
        "data": {"source": "made up", "validation": 20},
        "network": {"name": "simplenet_small", "embedding": 12},
        "batch": 40,
        "epochs": 2,
        "threads": 1,
    }
    return LayeredConfig.model_validate(base | changes)


def blobs(n, seed=0, n_classes=3):
    """Bytes: a bright quarter for each class, in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    images = rng.integers(0, 90, (n, 8, 9), dtype=np.uint8)
    for k, (row, column) in enumerate(((0, 0), (0, 5), (4, 0))):
        images[labels == k, row : row + 4, column : column + 4] += 110
    return Part(images, labels)


def dataset():
    return DataSet("blobs", blobs(221), blobs(90, 1), ("a", "b", "c"))


def loop_of(config, part):
    plan = config.plan((1, *part.images.shape[1:]), 3)
    torch.manual_seed(0)
    network = LayeredNetwork(plan)
    terms = WeightedSum(config, config.objective, 3, plan.embedding, COMM)
    images = Images(torch.tensor(part.images[:, None]), torch.tensor(part.labels))
    return Loop(config, COMM, network, terms, images, "training")


def run(config, part):
    loop = loop_of(config, part)
    return loop, loop.run(Display(), lambda epoch: {})


def test_an_epoch_takes_every_image_once_but_for_the_rest_and_repeats_itself():
    labels = np.zeros(101, int)
    config = config_of(batch=25)
    first, again, second = (list(batches(config, labels, epoch)) for epoch in (1, 1, 2))
    assert len(first) == n_batches(config, 101) == 4
    assert len(set(np.concatenate(first).tolist())) == 100
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, list(batches(config_of(batch=25, seed=1), labels, 1)))


def test_balanced_batches_have_equally_many_of_each():
    labels = np.repeat([0, 1, 2], [50, 20, 30])
    for rows in batches(config_of(batch=20, balanced=True), labels, 1):
        np.testing.assert_array_equal(np.bincount(labels[rows]), [6, 6, 6])


def test_weight_decay_spares_centroids_and_a_last_layer_behind_xi():
    part = blobs(40)
    decays = {}
    for name, network in (("plain", {}), ("sphere", {"xi": 2.0})):
        config = config_of(
            network={"name": "simplenet_small", **network},
            objective={"intraclass_variance": {"mode": "learned"}},
            optimiser={"weight_decay": 0.5},
        )
        loop = loop_of(config, part)
        optimiser = make_optimiser(config.optimiser, loop)
        decays[name] = [group["weight_decay"] for group in optimiser.param_groups]
        assert sum(p.numel() for g in optimiser.param_groups for p in g["params"]) == sum(
            p.numel() for p in loop.parameters()
        )
    assert decays == {"plain": [0.5, 0.5, 0.0], "sphere": [0.5, 0.0, 0.0]}


def test_milestones_lower_the_rate_and_history_says_so():
    _, trained = run(config_of(epochs=3, optimiser={"rate": 0.01, "milestones": [1, 2], "factor": 0.5}), blobs(90))
    assert [line["epoch"] for line in trained.history] == [0, 1, 2, 3]
    assert [line["rate"] for line in trained.history[1:]] == pytest.approx([0.01, 0.005, 0.0025])
    assert trained.batches == 6


def test_the_loss_is_the_weighted_sum_of_its_terms():
    objective = {"cross_entropy": 0.5, "intraclass_variance": 0.25, "separability": 2.0}
    _, trained = run(config_of(objective=objective), blobs(90))
    for line in trained.history[1:]:
        total = 0.5 * line["cross_entropy"] + 0.25 * line["intraclass_variance"] + 2 * line["separability"]
        assert line["loss"] == pytest.approx(total, rel=1e-5)


EXACT = {"cross_entropy": 0, "nullspace": {"mode": "exact"}}


def one_class(n):
    """No scatter of means."""
    part = blobs(n)
    return Part(part.images, np.zeros_like(part.labels))


def test_batches_without_a_value_are_raised_skipped_or_mended():
    few = {"network": {"name": "simplenet_small", "embedding": 12}, "batch": 14, "epochs": 1}
    part = blobs(60)
    assert 14 - 3 < 12 < 14 - 1  # a null space, but not all directions
    with pytest.raises(DegenerateBatchError, match=r"N = 14, D = 12, C = 3"):
        run(config_of(**few, objective=EXACT), part)
    for policy in ("skip", "ridge"):
        loop = loop_of(config_of(**few, objective=EXACT, on_degenerate=policy), part)
        before = [p.detach().clone() for p in loop.network.parameters()]
        trained = loop.run(Display(), lambda epoch: {})
        moved = any(not torch.equal(p, q) for p, q in zip(loop.network.parameters(), before, strict=True))
        count = {"skip": trained.skipped, "ridge": trained.ridged}
        assert count[policy] == trained.batches == 4
        assert sum(count.values()) == 4
        assert trained.history[1]["skipped" if policy == "skip" else "ridged"] == 4
        assert moved == (policy == "ridge")  # nothing to follow: nothing moves, momentum neither


def test_what_a_ridge_cannot_mend_is_raised():
    objective = {"cross_entropy": 0, "nullspace": 1.0}
    with pytest.raises(DegenerateBatchError, match="one class in the batch"):
        run(config_of(objective=objective, on_degenerate="ridge"), one_class(80))


def test_a_loss_or_a_parameter_that_is_not_finite_ends_the_training():
    with pytest.raises(NonFiniteError, match=r"training: .* in epoch \d of 2; lower optimiser.rate, which is 1e\+20"):
        run(config_of(optimiser={"kind": "sgd", "rate": 1e20}), blobs(90))
    loop = loop_of(config_of(), blobs(90))
    with torch.no_grad():
        loop.network.last.bias[1] = torch.nan
    with pytest.raises(NonFiniteError, match="the loss is nan in epoch 1"):
        loop.run(Display(), lambda epoch: {})


def test_settled_normalisations_have_the_moments_of_the_images():
    """A layer's own output then has mean 0 and variance 1, whatever the moving averages were before."""
    config = config_of(network={"name": "nullspace_small", "embedding": 5}, batch=30)
    network = loop_of(config, blobs(90)).network
    with torch.no_grad():
        network.body[1].running_mean.fill_(7.0)
    images = Images(torch.tensor(blobs(90).images[:, None]), torch.tensor(blobs(90).labels))
    settle_norms(network, images, 90, COMM)
    out = network.body[:2](images.batch(slice(None)))
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(32), atol=1e-4, rtol=0)
    spread = out.var(dim=(0, 2, 3))  # not quite 1: the layer adds 1e-5 to small variances
    torch.testing.assert_close(spread, torch.ones(32), atol=1e-2, rtol=0)
    assert not any(module.training for module in network.modules())
    assert network.body[1].momentum == 0.1
    by_parts = network.body[1].running_mean.clone()
    settle_norms(network, images, 30, COMM)
    torch.testing.assert_close(network.body[1].running_mean, by_parts)


def passed(n, d, n_classes, seed=0, *, scores=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    centres = np.random.default_rng(99).standard_normal((n_classes, d))
    features = (rng.standard_normal((n, d)) + 2 * centres[labels]).astype(np.float32)
    return Passed(features, scores, labels)


def test_figures_are_those_of_the_losses_package():
    train, test = passed(300, 5, 4), passed(120, 5, 4, 1)
    found = evaluation.of_features(train, test, learned=np.eye(4, 5))
    for k in (1, 5, 10):
        assert found[f"recall_at_{k}"] == pytest.approx(losses.recall_at_k(test.features, test.labels, k) / 100)
        tp = losses.true_positives_at_k(test.features, test.labels, k) / 100
        assert found[f"true_positives_at_{k}"] == pytest.approx(tp)
    assert found["recall_at_1"] == found["true_positives_at_1"]
    clf = losses.DiscriminantClassifier().partial_fit(train.features, train.labels)
    assert found["discriminant"] == np.mean(clf.predict(test.features) == test.labels)
    nearest = losses.nearest_centroid(test.features, np.eye(4, 5))
    assert found["nearest_learned_centroid"] == np.mean(nearest == test.labels)
    stretched = Passed(test.features * np.arange(1, 121, dtype=np.float32)[:, None], None, test.labels)
    again = evaluation.of_features(train, stretched)
    assert again["nearest_centroid_normalised"] == found["nearest_centroid_normalised"]
    assert len(found["eigenvalues"]) == 3


def test_the_linear_rule_is_discriminant_analysis():
    train, test = passed(300, 6, 4), passed(80, 6, 4, 1)
    classifier = evaluation.discriminant(train)
    a = evaluation.linear_rule(classifier, 5)  # one more class than was seen
    scores = test.features @ a[:-1] + a[-1]
    expected = classifier.decision_function(test.features)
    centred = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(scores[:, :4] - scores[:, :4].mean(axis=1, keepdims=True), centred, atol=1e-8)
    absent = evaluation.linear_rule(classifier, 5)[:, 4]
    assert (test.features @ absent[:-1] + absent[-1] < scores[:, :4].max(axis=1)).all()


def test_features_that_do_not_vary_have_no_figures_but_no_error():
    flat = Passed(np.ones((30, 4), np.float32), None, np.arange(30) % 3)
    found = evaluation.of_features(flat, flat)
    assert found["discriminant"] is None
    assert found["scatter_ratio"] is None
    tiny = Passed(np.eye(2, dtype=np.float32), None, np.array([0, 1]))
    assert evaluation.of_features(tiny, tiny)["recall_at_5"] is None


def test_separability_of_a_layer():
    layer = torch.nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.copy_(2 * torch.eye(3, 4))
    test = Passed(np.repeat(np.eye(3, 4, dtype=np.float32), 2, axis=0), None, np.repeat(np.arange(3), 2))
    found = evaluation.last_layer(layer, test)
    assert found["separability"] == pytest.approx(9.0)  # (s^2 - 1)^2
    assert found["separability_normalised"] == pytest.approx(0.0, abs=1e-12)
    assert found["cosine"] == pytest.approx(1.0)
    assert set(evaluation.last_layer(None, test).values()) == {None}


OBJECTIVES = {
    "trained": {"cross_entropy": 1, "intraclass_variance": {"mode": "learned", "weight": 0.1}},
    "varpro": {"cross_entropy": 0, "varpro_head": {"memory": 0.5}},
    "discriminant": {"cross_entropy": 0, "nullspace": {"ridge": 0.1}},
}


@pytest.mark.parametrize("last", OBJECTIVES)
def test_a_job_learns_and_tells_where_its_scores_come_from(last):
    config = config_of(objective=OBJECTIVES[last], epochs=4, optimiser={"rate": 3e-3})
    record, network = train(Prepared.of(config, dataset()), COMM, display=Display())
    m = record.metrics
    assert m["network"]["last_layer"] == last
    assert (m["train"]["accuracy"] > 0.9, m["test"]["accuracy"] > 0.9, m["validation"]["accuracy"] > 0.8) == (True,) * 3
    centroids = 3 * 12 if last == "trained" else 0
    assert m["network"]["parameters"] == network.plan.parameters + centroids
    assert (m["test"]["nearest_learned_centroid"] is None) == (last != "trained")
    assert m["control"]["network"]["last_layer"] == "trained"
    assert m["control"]["network"]["objective"] == {"cross_entropy": 1.0}
    if last == "discriminant":
        assert m["test"]["accuracy"] == m["test"]["discriminant"]
        assert m["last_layer"]["separability"] is None
    lines = [line for line in record.history if line["phase"] == "training"]
    assert lines[0]["nearest_centroid"] == pytest.approx(m["untrained"]["test"]["nearest_centroid"], abs=0.1)
    assert lines[-1]["scatter_ratio"] == m["test"]["scatter_ratio"]
    assert lines[-1]["scatter_ratio"] < lines[0]["scatter_ratio"]
    assert record.confusion.sum() == 90
    assert np.trace(record.confusion) / 90 == m["test"]["accuracy"]
    assert [part.name for part in record.embeddings] == ["training", "control", "untrained"]


def test_a_seed_repeats_a_job_bitwise_and_leaves_the_callers_generator_alone():
    found = []
    for _ in range(2):
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        record, network = train(Prepared.of(config_of(baseline=False), dataset()), COMM, display=Display())
        assert torch.equal(torch.rand(3), expected)
        found.append((record.metrics["test"], network.state_dict()))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(found[0][1][key], found[1][1][key]) for key in found[0][1])


def test_which_control_there_is():
    def control(**changes):
        record, _ = train(Prepared.of(config_of(epochs=1, **changes), dataset()), COMM, display=Display())
        return record.metrics["control"]

    sphere = {"name": "simplenet_small", "xi": 3.0}
    assert control() is None  # cross-entropy alone: it would be the same run
    assert control(network=sphere)["network"]["xi"] is None
    assert control(network=sphere, objective={"intraclass_variance": 1})["network"]["xi"] == pytest.approx(3.0)
    assert control(baseline={"name": "intraclass_light"})["network"]["name"] == "intraclass_light"
    assert control(network=sphere, baseline=False) is None
