"""Every option of an objective reaches its loss: a term's value is that of `varpro.losses` with the same options."""

import math

import numpy as np
import pytest

from varpro import losses
from varpro.config.layered import LayeredConfig
from varpro.distributed import SerialCommunicator
from varpro.errors import DegenerateBatchError

torch = pytest.importorskip("torch", reason="torch is not installed")

from varpro.train.layered.objective import WeightedSum  # noqa: E402

N_CLASSES, N_FEATURES = 3, 7
RNG = np.random.default_rng(5)
Y = np.arange(12) % N_CLASSES
FEATURES = (0.4 * RNG.standard_normal((12, N_FEATURES)) + 0.2 * np.eye(N_CLASSES, N_FEATURES)[Y]).astype(np.float32)
COLUMNS = RNG.standard_normal((N_FEATURES, N_CLASSES)).astype(np.float32)
WIDE = np.concatenate([FEATURES, RNG.standard_normal((12, 5)).astype(np.float32)], axis=1)
"""12 rows in 12 dimensions: an exact null space has all its directions."""


def terms_of(objective, *, xi=None, features=FEATURES, policy="raise"):
    config = LayeredConfig.model_validate(
        {
            "data": {"source": "made up"},
            "network": {"name": "simplenet_small", "embedding": features.shape[1], "xi": xi},
            "objective": {"cross_entropy": 0} | objective,
            "on_degenerate": policy,
        }
    )
    return WeightedSum(config, config.objective, N_CLASSES, features.shape[1], SerialCommunicator())


def value_of(objective, *, xi=None, features=FEATURES):
    terms = terms_of(objective, xi=xi, features=features)
    weight = torch.from_numpy(COLUMNS.T.copy())
    terms(torch.from_numpy(features), None, torch.from_numpy(Y), weight)
    (value,) = terms.values.values()
    return value


CONTRASTIVE = [
    ({"margin": 0.9}, None, 0.9),
    ({"margin": 2.5}, None, 2.5),
    ({"margin": 2.5}, 0.5, 2.5),
    ({}, None, 1.0),
    ({}, 0.8, math.sqrt(2.0) / 0.8),
]


@pytest.mark.parametrize(("options", "xi", "margin"), CONTRASTIVE)
def test_the_contrastive_margin_is_the_one_of_the_config_or_that_of_the_sphere(options, xi, margin):
    expected = losses.ContrastiveLoss(margin)(FEATURES, Y).value
    assert value_of({"contrastive": {"weight": 1, **options}}, xi=xi) == pytest.approx(expected, rel=1e-6)
    for other in {0.9, 1.0, 2.5, math.sqrt(2.0) / 0.8} - {margin}:
        assert expected != pytest.approx(losses.ContrastiveLoss(other)(FEATURES, Y).value, rel=1e-3)


NULLSPACE = {
    "mode": ({"mode": "exact"}, WIDE),
    "spectral": ({"spectral": "clip"}, FEATURES),
    "scale": ({"scale": "none"}, FEATURES),
    "eps": ({"spectral": "below_sum", "eps": 0.25}, FEATURES),
    "ridge": ({"ridge": 0.3}, FEATURES),
    "strict": ({"mode": "exact", "strict": False}, WIDE[:, :11]),
}


@pytest.mark.parametrize("key", NULLSPACE)
def test_each_option_of_the_null_space_term_acts(key):
    options, features = NULLSPACE[key]
    named = {**options, "ridge": losses.Ridge(rel=options.get("ridge", 1e-2))}
    expected = losses.NullSpaceLoss(**named)(features, Y).value
    assert value_of({"nullspace": {"weight": 1, **options}}, features=features) == pytest.approx(expected, rel=1e-5)
    if key in ("spectral", "scale", "eps", "ridge"):
        assert expected != pytest.approx(losses.NullSpaceLoss()(features, Y).value, rel=1e-3)


FEED_BACK = [
    ({"dist": "l2"}, None, {"dist": "l2"}),
    ({"direction": "qp"}, None, {"direction": "qp"}),
    ({"tau": 0.3}, None, {"tau": 0.3}),
    ({}, 4.0, {"tau": 0.25}),
    ({"tau": 0.3}, 4.0, {"tau": 0.3}),
]


@pytest.mark.parametrize(("options", "xi", "by_hand"), FEED_BACK)
def test_each_option_of_the_feed_backward_term_acts(options, xi, by_hand):
    expected = losses.FeedBackward(**by_hand)(FEATURES, Y, W=COLUMNS).value
    assert value_of({"feed_backward": {"weight": 1, **options}}, xi=xi) == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(losses.FeedBackward()(FEATURES, Y, W=COLUMNS).value, rel=1e-3)


def test_an_eliminated_feed_backward_term_solves_for_the_columns():
    expected = losses.FeedBackward(eliminate=True)(FEATURES, Y).value
    assert value_of({"feed_backward": {"weight": 1, "eliminate": True}}) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stop", ["none", "F", "W"])
def test_a_stopped_side_of_the_feed_backward_term_has_no_gradient(stop):
    terms = terms_of({"feed_backward": {"weight": 1, "stop": stop}})
    features, weight = torch.tensor(FEATURES, requires_grad=True), torch.tensor(COLUMNS.T.copy(), requires_grad=True)
    terms(features, None, torch.from_numpy(Y), weight).backward()
    assert bool(features.grad.any()) == (stop != "F")
    assert bool(weight.grad.any()) == (stop != "W")


@pytest.mark.parametrize("normalise", [False, True])
def test_the_separability_term_is_of_columns_or_of_their_directions(normalise):
    expected = losses.SeparabilityPenalty(1.0, normalise)(COLUMNS).value
    found = value_of({"separability": {"weight": 1, "normalise": normalise}})
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("mode", "key", "value"), [("proximal", "kappa", 6.0), ("ema", "alpha", 0.9)])
def test_centroids_move_by_the_share_of_the_config(mode, key, value):
    terms = terms_of({"intraclass_variance": {"weight": 1, "mode": mode, key: value}})
    old = np.zeros((N_CLASSES, N_FEATURES))
    expected = losses.IntraClassVariance(mode=mode, **{key: value})(FEATURES, Y, C=old)
    total = terms(torch.from_numpy(FEATURES), None, torch.from_numpy(Y), None)
    assert float(total) == pytest.approx(expected.value, rel=1e-5)
    np.testing.assert_allclose(terms.parts["intraclass_variance"].C, expected.info["C"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "by_hand"), [({"ridge": 0.4}, {"ridge": losses.Ridge(rel=0.4)}), ({"targets": "signed"}, {})]
)
def test_each_option_of_the_eliminated_layer_acts(options, by_hand):
    named = {"ridge": losses.Ridge(rel=1e-2), "targets": options.get("targets", "onehot")} | by_hand
    expected = losses.EliminatedLinear(N_CLASSES, **named)(FEATURES, Y).value
    assert value_of({"varpro_head": {"weight": 1, **options}}) == pytest.approx(expected, rel=1e-5)
    plain = losses.EliminatedLinear(N_CLASSES, losses.Ridge(rel=1e-2))(FEATURES, Y).value
    assert expected != pytest.approx(plain, rel=1e-3)


def test_the_eliminated_layer_remembers_by_the_share_of_the_config():
    heads = [terms_of({"varpro_head": {"weight": 1, "memory": memory}}).head for memory in (0.0, 0.8)]
    assert [head.memory for head in heads] == [0.0, 0.8]


@pytest.mark.parametrize("term", ["contrastive", "nullspace", "intraclass_variance", "separability", "varpro_head"])
def test_a_term_counts_with_its_weight(term):
    alone = terms_of({term: {"weight": 1}})
    twice = terms_of({term: {"weight": 2.5}})
    given = torch.from_numpy(FEATURES), None, torch.from_numpy(Y), torch.from_numpy(COLUMNS.T.copy())
    assert float(twice(*given)) == pytest.approx(2.5 * float(alone(*given)), rel=1e-6)
    assert alone.values == twice.values


def test_the_policy_for_batches_without_a_value_is_that_of_the_config():
    one = torch.zeros(5, dtype=torch.int64)
    for policy in ("skip", "raise", "ridge"):
        terms = terms_of({"nullspace": {"weight": 1}}, policy=policy)
        given = torch.from_numpy(FEATURES[:5]), None, one, None
        if policy == "skip":
            assert float(terms(*given)) == 0.0
            assert terms.statuses == {"skipped": 1}
            assert terms.live == 0
        else:
            with pytest.raises(DegenerateBatchError):
                terms(*given)
