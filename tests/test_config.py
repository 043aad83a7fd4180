"""Configs: what is accepted, and that every mistake gets one line with the remedy."""

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from varpro.config.errors import all_keys
from varpro.config.file import find_config, list_configs
from varpro.config.scalarized import (
    Bootstrap,
    Glue,
    Prune,
    Refine,
    ScalarizedConfig,
    Search,
    parse_config,
)
from varpro.config.sections import Data, Section
from varpro.config.training import load_config
from varpro.config.units import ModelSection
from varpro.errors import ConfigError
from varpro.models.units import UNITS

BASE = {"data": {"source": "mnist"}}
SHIPPED = [name for name in list_configs() if isinstance(load_config(name), ScalarizedConfig)]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_load_and_round_trip(name):
    config = load_config(name)
    again = parse_config(yaml.safe_load(yaml.safe_dump(config.as_dict())), name)
    assert again == config
    assert config.output == f"runs/{name.removesuffix('.yaml')}"


def test_a_config_is_found_by_path_first_then_by_name_with_or_without_ending(tmp_path, monkeypatch):
    assert find_config("digits") == find_config("digits.yaml")
    own = tmp_path / "digits.yaml"
    own.write_text("data: {source: digits}\nunits: 3\n")
    monkeypatch.chdir(tmp_path)
    assert load_config("digits.yaml").units == 3


def test_the_papers_partition_is_shipped():
    config = load_config("mnist")
    assert (config.subnetworks, config.units, config.samples, config.search.iterations) == (104, 50, 2000, 15)


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("subnetworks=3", lambda c: c.subnetworks, 3),
        ("search.cost_tolerance=1e-5", lambda c: c.search.cost_tolerance, 1e-5),
        ("glue=tsqr", lambda c: c.glue.method, "tsqr"),
        ("glue.ridge=0.5", lambda c: c.glue.ridge, 0.5),
        ("bootstrap=false", lambda c: c.bootstrap.enabled, False),
        ("bootstrap.variant=argmax", lambda c: c.bootstrap.variant, "argmax"),
        ("refine=true", lambda c: c.refine.enabled, True),
        ("refine.iterations=3", lambda c: (c.refine.enabled, c.refine.iterations), (True, 3)),
        ("refine=false", lambda c: c.refine.enabled, False),
        ("glue=gram", lambda c: c.glue.method, "gram"),
        ("control=false", lambda c: c.control, False),
        ("reproducible=true", lambda c: c.reproducible, True),
        ("model={unit: local-bilinear, window: [3, 5]}", lambda c: c.model.options.window, (3, 5)),
        ("model.unit=local-bilinear", lambda c: c.model.options.window, (6, 14)),
        ("search.rank_tolerance=null", lambda c: c.search.rank_tolerance, None),
    ],
)
def test_overrides(override, get, value):
    assert get(load_config("digits_quadratic", [override])) == value


def test_later_overrides_win_and_fixed_values_win_over_all():
    assert load_config("digits_quadratic", ["seed=1", "seed=2"]).seed == 2
    assert load_config("digits_quadratic", ["seed=1"], seed=5).seed == 5
    assert load_config("digits_quadratic", ["seed=1"], seed=None).seed == 1


def test_a_key_set_below_a_shorthand_keeps_what_the_shorthand_means():
    config = load_config(
        "digits_quadratic", ["glue=tsqr", "glue.block_rows=7", "bootstrap=false", "bootstrap.margin=0.1"]
    )
    assert (config.glue.method, config.glue.block_rows) == ("tsqr", 7)
    assert (config.bootstrap.enabled, config.bootstrap.margin) == (True, 0.1)


MISTAKES = [
    ({"ridge": 3}, "did you mean search.ridge or glue.ridge or refine.ridge"),
    ({"Units": 3}, r"did you mean units or prune\.units\?"),
    ({"search": {"nonsense": 1}}, "keys of search are iterations"),
    ({3: 4}, "unknown key 3"),
    ({"unts": 3, "samples": "x"}, r"unknown key unts; did you mean units\? \(also to mend: samples\)"),
    ({"data": {"sorce": "mnist"}}, r"unknown key data\.sorce; did you mean data\.source\?$"),
    ({"data": "mnist"}, r"such as data: \{source: mnist\}"),
    ({"data": {"source": ""}}, "must not be empty"),
    ({"data": {"source": 3}}, "must be text"),
    ({"search": None}, "search is empty; .* put keys below search, or remove the line"),
    ({"units": None}, "units is empty; it must be a whole number"),
    ({"refine": 3}, "true, false, or a mapping"),
    ({"model": {"unit": "local-bilinear", "window": [3, "x"]}}, r"\[3, 'x'\]; it needs two sides"),
    ({"model": {"unit": "local-bilinear", "window": 7}}, "is 7; it needs two sides"),
    ({"bootstrap": {"variant": "argmin"}}, r"\(did you mean argmax\?\)"),
    ({"subnetwork": 3}, "did you mean subnetworks"),
    ({"iterations": 3}, "did you mean search.iterations"),
    ({"search": {"iteration": 3}}, "did you mean search.iterations"),
    ({"search": {"unit": "bilinear"}}, "did you mean model.unit"),
    ({"nonsense": 1}, "keys are data, model"),
    ({"units": "many"}, "units is 'many'; it must be a whole number"),
    ({"units": 2.5}, "whole number"),
    ({"units": True}, "whole number"),
    ({"units": 0}, "needs a value >= 1"),
    ({"seed": -1}, "needs a value >= 0"),
    ({"search": {"ridge": -1.0}}, "search.ridge is -1.0; it needs a value >= 0"),
    ({"search": {"ridge": float("nan")}}, "finite"),
    ({"search": 3}, "a mapping of keys"),
    ({"search": {"rank_tolerance": 2}}, "needs a value < 1"),
    ({"glue": "qr"}, "gram, tsqr"),
    ({"glue": {"ridge": "lots"}}, "must be a number"),
    ({"glue": {"ridge": -1}}, "auto or a number >= 0"),
    ({"bootstrap": {"variant": "papr"}}, "choose one of 'paper'"),
    ({"bootstrap": {"margin": 1.0}}, "needs a value < 1"),
    ({"bootstrap": "softer"}, "must be one of true, false, paper, argmax, confident-only, soft, linear, average"),
    ({"control": "yes"}, "true or false"),
    ({"refine": "yes"}, "true, false"),
    ({"model": {"unit": "local-bilinear", "window": [9, 3]}}, r"\[smallest, largest\]"),
    ({"model": {"unit": "local-bilinear", "window": [9]}}, "two sides"),
    ({"model": {"window": [3, 5]}}, "is an option of local-bilinear units, and model.unit is quadratic: leave it out"),
    ({"model": {"unit": "bilinear", "windw": [3, 5]}}, r"unknown key model\.windw; did you mean model\.window\?"),
    ({"model": {"unit": "cubic"}}, "choose one of 'quadratic', 'bilinear', 'local-bilinear'"),
    ({"model": {"sigma": "relu"}}, "choose one of 'tanh'"),
    ({"backend": "gpu"}, "choose one of 'auto', 'cpu', 'cuda'"),
    ({"data": {}}, "data.source is missing"),
]


@pytest.mark.parametrize(("tree", "message"), MISTAKES)
def test_every_mistake_gets_one_line_with_the_remedy(tree, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config({**BASE, **tree}, "here.yaml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("here.yaml: ")


def test_contradictions():
    with pytest.raises(ConfigError, match="units is 60 and samples 50"):
        load_config("digits_quadratic", ["units=60", "samples=50"])
    with pytest.raises(ConfigError, match="nothing would be trained"):
        load_config("digits_quadratic", ["subnetworks=0"])
    random = load_config("digits_quadratic", ["subnetworks=0", "control=false"])
    assert not random.refine.enabled


@pytest.mark.parametrize(
    ("override", "shape", "message"),
    [
        ("samples=5000", (1, 8, 8), "samples is 5000, but there are 1000 training images"),
        ("model.unit=quadratic", (1, 8, 9), "w\\^T X w needs square images"),
        ("model={unit: local-bilinear, window: [3, 9]}", (1, 8, 8), "set the largest side <= 8"),
        ("glue.ridge=0", (1, 8, 8), r"glue\.ridge is 0, and \d+ columns of Phi are more than the 1000 training images"),
    ],
)
def test_partitions_that_the_data_cannot_carry(override, shape, message):
    with pytest.raises(ConfigError, match=message):
        load_config("digits_quadratic", ["subnetworks=60", "units=20", override]).check_with_data(1000, 10, shape)


def test_a_linear_layer_that_is_determined_needs_no_ridge():
    for overrides in (["subnetworks=40"], ["subnetworks=60", "glue=tsqr"]):
        load_config("digits_quadratic", [*overrides, "units=20", "glue.ridge=0"]).check_with_data(1000, 10, (1, 8, 8))


def test_fewer_samples_than_classes():
    config = parse_config({**BASE, "units": 3, "samples": 8}, "x")
    with pytest.raises(ConfigError, match="fewer than the 10 classes"):
        config.check_with_data(1000, 10, (1, 8, 8))


@pytest.mark.parametrize("override", ["seed", "=3", "a..b=1", "units=[1", "units.x=3", "data={source: a, source: b}"])
def test_overrides_that_cannot_be_read(override):
    with pytest.raises(ConfigError, match="--set"):
        load_config("digits_quadratic", [override])


def test_a_mistake_is_laid_where_it_was_made():
    with pytest.raises(ConfigError, match=r"^--set units=many: units is 'many'"):
        load_config("digits_quadratic", ["seed=3", "units=many"])
    with pytest.raises(ConfigError, match=r"^--seed -1: seed is -1; it needs a value >= 0"):
        load_config("digits_quadratic", ["units=3"], seed=-1)


def test_an_override_without_effect_is_refused():
    with pytest.raises(ConfigError, match=r"--set refine\.products=3: has no effect.* set that to true"):
        load_config("digits_quadratic", ["refine.enabled=false", "refine.products=3"])


def test_files_that_are_no_config(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("data: {source: mnist\nunits: 3\n")
    with pytest.raises(ConfigError, match="line 2: not valid YAML"):
        load_config(path)
    path.write_text("data: {source: mnist}\nunits: 3\nunits: 4\n")
    with pytest.raises(ConfigError, match=r"line 3: .*the key units is given twice"):
        load_config(path)
    path.write_text("data: {source: mnist}\n\tunits: 3\n")
    with pytest.raises(ConfigError, match=r"line 2: .*a tab stands where spaces are needed"):
        load_config(path)
    path.write_text("# nothing yet\n")
    with pytest.raises(ConfigError, match="is empty; it needs at least a data source"):
        load_config(path)
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="a mapping"):
        load_config(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)


def test_unknown_names_say_what_is_near():
    with pytest.raises(ConfigError, match="did you mean mnist"):
        load_config("mnits")


def test_configs_are_frozen():
    config = ScalarizedConfig.model_validate(BASE)
    with pytest.raises(ValueError, match="frozen"):
        config.units = 3


def documented_keys():
    """{key: default} of the tables in docs/configuration.md."""
    lines = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    rows = (line.split("|") for line in lines if line.startswith("| `"))
    return {row[1].strip(" `"): row[2].strip(" `") for row in rows if not row[1].strip(" `").endswith(".yaml")}


def test_every_key_and_its_default_stands_in_the_documentation():
    documented = documented_keys()
    defaults = parse_config({**BASE, "refine": True}, "defaults").as_dict()
    for unit in UNITS:
        defaults["model"] |= asdict(UNITS[unit].Options())
    sections = {name for name, value in defaults.items() if isinstance(value, dict)}
    assert set(documented) == set(all_keys(ScalarizedConfig)) - sections
    assert documented.pop("data.source") == "required"
    for key, text in documented.items():
        section, _, inner = key.rpartition(".")
        value = defaults[section][inner] if section else defaults[inner]
        documented_value = float(text) if isinstance(value, float) else yaml.safe_load(text)
        assert documented_value == (list(value) if isinstance(value, tuple) else value), key


def test_every_key_says_what_it_is():
    undocumented = [
        f"{section.__name__}.{name}"
        for section in (ScalarizedConfig, Data, ModelSection, Search, Glue, Bootstrap, Prune, Refine)
        for name, field in section.model_fields.items()
        if not field.description and not (isinstance(field.annotation, type) and issubclass(field.annotation, Section))
    ]
    assert undocumented == []
