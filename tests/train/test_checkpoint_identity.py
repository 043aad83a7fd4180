"""Which run a checkpoint belongs to: every difference is told by name, and nothing else counts as one."""

import dataclasses

import numpy as np
import pytest

from varpro.train.checkpoint.identity import Identity, checksum, flat, told

OWN = Identity(
    "1.2", {"seed": 3, "glue": {"ridge": "auto", "memory": 1.0}, "output": "here", "control": True}, "ab" * 32
)


def changed(**parts):
    return dataclasses.replace(OWN, **parts)


def test_the_same_run_has_no_differences_whatever_its_folder():
    elsewhere = changed(config=OWN.config | {"output": "there"})
    for other in (OWN, elsewhere):
        assert OWN.differences(other.values) == []
        assert other.digest == OWN.digest
    assert len(OWN.digest) == 16


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (changed(version="1.1"), ["varpro is 1.2 now and was 1.1"]),
        (changed(config=OWN.config | {"seed": 4}), ["seed is 3 now and was 4"]),
        (changed(config=OWN.config | {"control": False}), ["control is true now and was false"]),
        (changed(config=OWN.config | {"glue": {"ridge": 0.5}}),
         ["glue.ridge is auto now and was 0.5", "glue.memory is 1.0 now and was null"]),
        (changed(config=OWN.config | {"gone": 1}), ["gone is null now and was 1"]),
        (changed(data="cd" * 32), ["the data have SHA-256 abababababab... now and had cdcdcdcdcdcd..."]),
    ],
)  # fmt: skip
def test_each_difference_is_told_with_both_values(other, said):
    assert OWN.differences(other.values) == said
    assert other.digest != OWN.digest


def test_the_number_of_ranks_counts_only_where_the_states_depend_on_it():
    two = changed(ranks=2)
    assert two.differences(two.values) == []
    assert two.differences(changed(ranks=4).values) == ["there are 2 ranks now and were 4"]
    assert OWN.differences(two.values) == []
    assert two.digest != OWN.digest


def test_many_differences_are_told_in_one_line_of_three():
    assert told(["a", "b", "c"]) == "a, b, c"
    assert told(["a", "b", "c", "d", "e"]) == "a, b, c, and 2 more"
    assert told(["a"]) == "a"


def test_nested_keys_are_dotted():
    assert flat({"a": 1, "b": {"c": {"d": 2}, "e": None}}) == {"a": 1, "b.c.d": 2, "b.e": None}


def test_a_checksum_sees_values_types_shapes_and_order_but_not_the_layout_in_memory():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3)
    same = checksum(a, b)
    assert checksum(np.asfortranarray(a), b) == same
    others = [(b, a), (a.reshape(3, 2), b), (a.astype(np.float32), b), (a + np.eye(2, 3), b), (a,)]
    assert len({same, *(checksum(*arrays) for arrays in others)}) == 6
