"""Configs of networks: what is accepted, and that every mistake gets one line with the remedy.  None needs PyTorch."""

import re
from pathlib import Path

import pytest
import yaml

from varpro.config import layered
from varpro.config.errors import all_keys
from varpro.config.file import find_config, list_configs, read_tree
from varpro.config.kinds import NETWORKS
from varpro.config.layered import LayeredConfig, NetworkKind
from varpro.config.sections import Section
from varpro.config.source import validated
from varpro.config.training import load_config, sort_of_run
from varpro.errors import ConfigError

SHIPPED = [name for name in list_configs() if isinstance(load_config(name), LayeredConfig)]
BASE = {"data": {"source": "mnist"}, "network": {"name": "lenet5"}}
MNIST = (1, 28, 28)


def parse(tree, where="here.yaml"):
    return validated(LayeredConfig, tree, where, None)


def test_five_are_shipped():
    assert SHIPPED == [
        "cifar10_nullspacenet.yaml",
        "fashion_simplenet.yaml",
        "mnist_intraclass.yaml",
        "mnist_nullspace.yaml",
        "mnist_separability.yaml",
    ]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_load_and_round_trip(name):
    config = load_config(name)
    assert parse(yaml.safe_load(yaml.safe_dump(config.as_dict()))) == config
    assert config.output == f"runs/{name.removesuffix('.yaml')}"
    shape = (3, 32, 32) if "cifar" in name else MNIST
    config.check_with_data(10_000, 10, shape)
    assert config.plan(shape, 10).parameters > 0


def test_the_key_network_makes_the_kind(tmp_path):
    assert sort_of_run(read_tree(find_config("mnist"))) is not LayeredConfig
    own = tmp_path / "own.yaml"
    own.write_text("data: {source: mnist}\nnetwork: {}\n")
    assert sort_of_run(read_tree(own)) is LayeredConfig
    with pytest.raises(ConfigError, match=r"network\.name is missing; add it, for example network: \{name: lenet5\}"):
        load_config(own)


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("epochs=3", lambda c: c.epochs, 3),
        ("optimiser.rate=1e-5", lambda c: c.optimiser.rate, 1e-5),
        ("optimiser.milestones=[2, 5]", lambda c: c.optimiser.milestones, (2, 5)),
        ("objective.nullspace=0.5", lambda c: c.objective.nullspace.weight, 0.5),
        (
            "objective.nullspace.mode=exact",
            lambda c: (c.objective.nullspace.weight, c.objective.nullspace.mode),
            (1, "exact"),
        ),
        (
            "objective.contrastive={margin: 2}",
            lambda c: (c.objective.contrastive.weight, c.objective.contrastive.margin),
            (1, 2),
        ),
        ("objective.feed_backward=0", lambda c: c.objective.active(), {"cross_entropy": 1.0}),
        ("baseline=false", lambda c: c.baseline.enabled, False),
        ("baseline.name=simplenet", lambda c: (c.baseline.enabled, c.baseline.name), (True, "simplenet")),
        ("network.xi=1e2", lambda c: c.network.xi, 100.0),
        ("threads=1", lambda c: c.threads, 1),
    ],
)
def test_overrides(override, get, value):
    assert get(load_config("mnist_separability", [override])) == value


def test_a_key_below_a_number_keeps_the_weight():
    config = load_config(
        "mnist_separability", ["objective.intraclass_variance=0.05", "objective.intraclass_variance.mode=learned"]
    )
    assert config.objective.intraclass_variance.weight == 0.05
    assert config.objective.intraclass_variance.mode == "learned"


MISTAKES = [
    ({"epoch": 3}, "unknown key epoch; did you mean epochs"),
    ({"rate": 3}, "did you mean optimiser.rate"),
    ({"objective": {"nullspase": 1}}, "did you mean objective.nullspace"),
    ({"objective": {"nullspace": {"mod": "exact"}}}, "did you mean objective.nullspace.mode"),
    ({"objective": {"nullspace": {"mode": "exakt"}}}, r"choose one of 'ridge', 'exact' \(did you mean exact\?\)"),
    ({"objective": {"nullspace": True}}, "objective.nullspace is true; a mapping of keys to values is needed"),
    ({"objective": {"separability": -1}}, r"objective.separability.weight is -1; it needs a value >= 0"),
    ({"objective": {"varpro_head": {"memory": 2}}}, "needs a value <= 1"),
    ({"network": {"name": "lenet"}}, r"\(did you mean lenet5\?\)"),
    ({"network": "lenet5"}, "a mapping of keys"),
    ({"network": {"name": "lenet5", "xi": 0}}, "network.xi is 0; it needs a value > 0"),
    ({"optimiser": {"kind": "adamw"}}, r"\(did you mean adam\?\)"),
    ({"optimiser": {"milestones": [5, 2]}}, r"optimiser.milestones is \[5, 2\]; it must rise"),
    ({"optimiser": {"rate": float("nan")}}, "finite"),
    ({"batch": 1}, "needs a value >= 2"),
    ({"batch": 2.5}, "whole number"),
    ({"baseline": "yes"}, "a mapping of keys"),
    ({"on_degenerate": "ignore"}, "choose one of 'raise', 'skip', 'ridge'"),
    ({"device": "gpu"}, "choose one of 'auto', 'cpu', 'cuda'"),
    ({"seed": -1}, "needs a value >= 0"),
]


@pytest.mark.parametrize(("tree", "message"), MISTAKES)
def test_every_mistake_gets_one_line_with_the_remedy(tree, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse({**BASE, **tree})
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("here.yaml: ")


CONTRADICTIONS = [
    (["objective={cross_entropy: 0}"], "nothing would be trained"),
    (["objective={varpro_head: 1}"], "set one of the two"),
    (["objective={cross_entropy: 0, feed_backward: 1}"], r"acts on the last layer.*feed_backward\.eliminate: true"),
    (["objective={cross_entropy: 0, separability: 1}"], "acts on the last layer"),
    (["network.learnable_xi=true"], "network.xi is empty"),
    (
        ["objective.nullspace.weight=0", "objective.nullspace.mode=exact"],
        "has no effect, as objective.nullspace.weight is 0",
    ),
]


@pytest.mark.parametrize(("overrides", "message"), CONTRADICTIONS)
def test_contradictions(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config("mnist_separability", overrides)


def test_an_eliminated_feed_backward_needs_no_last_layer():
    eliminated = "objective={cross_entropy: 0, feed_backward: {eliminate: true}}"
    assert not load_config("mnist_separability", [eliminated]).plan(MNIST, 10).linear


@pytest.mark.parametrize(
    ("overrides", "shape", "message"),
    [
        (["batch=600"], MNIST, r"batch is 600, but there are 500 training images; set batch <= 500"),
        (["balanced=true", "batch=19"], MNIST, r"fewer than 2 of each of 10 classes; set batch >= 20"),
        (["objective.nullspace.mode=exact"], MNIST, r"batch - classes = 118 >= 84 features; set batch < 94"),
        ([], (1, 8, 8), "images are 8 x 8 and nothing is left"),
        (["baseline.name=vgg16_fc"], MNIST, "vgg16_fc, but the images are 28 x 28"),
    ],
)
def test_what_the_data_cannot_carry(overrides, shape, message):
    with pytest.raises(ConfigError, match=message):
        load_config("mnist_separability", overrides).check_with_data(500, 10, shape)


def test_every_architecture_can_be_named():
    assert len(set(NETWORKS)) == 9
    for name in NETWORKS:
        assert NetworkKind(name=name).name == name


def test_every_key_says_what_it_is():
    sections = [c for c in vars(layered).values() if isinstance(c, type) and issubclass(c, Section)]
    undocumented = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.model_fields.items()
        if not field.description and not (isinstance(field.annotation, type) and issubclass(field.annotation, Section))
    ]
    assert undocumented == []


def test_every_key_and_its_default_stands_in_the_documentation():
    page = (Path(__file__).parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", page, re.MULTILINE))
    defaults = parse(BASE).as_dict()
    keys = {key for key in all_keys(LayeredConfig) if not key.startswith("data.")}
    values = {}
    for key in keys:
        value = defaults
        for part in key.split("."):
            value = value[part]
        if not isinstance(value, dict):
            values[key] = value
    weights = {key for key in values if key.endswith(".weight")}
    assert set(rows) == set(values) - weights | {"objective.TERM.weight"}
    for key in set(rows) & set(values) - {"network.name"}:
        assert yaml.safe_load(rows[key]) == values[key] or float(rows[key]) == values[key], key
