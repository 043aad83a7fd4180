"""A training run whose refinement minimises the cross-entropy."""

import numpy as np
import pytest

from tests.train.small_run import config_of, dataset
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import ConfigError
from varpro.linalg.cross_entropy import cross_entropy
from varpro.report.progress import Display
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized.trainer import train

REFINE = {"loss": "cross_entropy", "iterations": 4, "first_rows": 123, "ridge": 1e-3, "precision": "fp64"}


def trained(**refine):
    config = config_of(subnetworks=0, units=6, refine=REFINE | refine, glue={"loss": "cross_entropy"}, control=True)
    return train(Prepared.of(config, dataset()), SerialCommunicator(), display=Display())


def accepted(record):
    """The lines of the accepted steps."""
    return [line for line in record.history if line["phase"] == "refine" and line["accepted"]]


def test_a_refinement_lowers_the_cross_entropy_of_all_rows_at_every_step():
    record, _ = trained()
    costs = [line["cost"] for line in accepted(record)]
    assert len(costs) == 4
    assert all(np.diff(costs) < 0)
    assert costs[-1] < 0.9 * np.log(3)


def test_the_iterate_is_chosen_by_the_cross_entropy_of_the_validation_rows():
    record, network = trained()
    best = min(accepted(record), key=lambda line: line["validation_cost"])
    assert record.metrics["refine"]["best_iteration"] == best["iteration"]
    split = Prepared.of(config_of(refine=REFINE), dataset()).split
    y = np.eye(3)[split.validation.labels]
    found = cross_entropy(network.scores(split.validation.images), y)[0] / len(y)
    # the final layer has another ridge and the rows of the whole part, so only the scale is the same
    assert found == pytest.approx(best["validation_cost"], rel=0.5)


@pytest.mark.parametrize(
    ("key", "value", "only"), [("jacobian", "golub-pereyra", "kaufman"), ("step", "exact", "conjugate-gradients")]
)
def test_steps_of_least_squares_are_refused_in_one_line(key, value, only):
    config = config_of(refine=REFINE | {key: value})
    message = rf"refine\.loss is cross_entropy, which has no refine\.{key}: {value}; remove it, or set {only}"
    with pytest.raises(ConfigError, match=message) as told:
        config.check_without_data()
    assert "\n" not in str(told.value)
