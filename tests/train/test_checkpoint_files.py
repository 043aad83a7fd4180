"""A state on disk: whole or absent, numbers only, and no damage goes unnoticed."""

import hashlib
import json

import numpy as np
import pytest

from varpro.errors import DataError
from varpro.train.checkpoint import State
from varpro.train.checkpoint.files import MAGIC, read_state, replaced, write_state

STATE = State(
    {"cost": float("nan"), "history": [{"damping": 0.1}], "name": "training"},
    {"w": np.linspace(-1, 1, 7), "n": np.array(3), "empty": np.zeros((0, 4)), "bytes": np.arange(5, dtype=np.uint8)},
)


def forged(header, rest=b""):
    """A checkpoint that was made on purpose, with a checksum that fits."""
    text = json.dumps(header).encode()
    body = len(text).to_bytes(8, "little") + text + rest
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def test_a_state_comes_back_bit_for_bit(tmp_path):
    write_state(tmp_path / "a.ckpt", STATE)
    found = read_state(tmp_path / "a.ckpt")
    assert np.isnan(found.values.pop("cost"))
    assert found.values == {key: value for key, value in STATE.values.items() if key != "cost"}
    for name, array in STATE.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()
    found.arrays["w"][0] = 5.0  # writable
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_every_flipped_or_missing_byte_is_found_and_told_in_one_line(tmp_path):
    path = tmp_path / "a.ckpt"
    write_state(path, STATE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        for content in (bytes(flipped), whole[:place], whole[:place] + whole[place + 1 :]):
            path.write_bytes(content)
            with pytest.raises(DataError, match=r"checkpoint .*a\.ckpt is damaged: .*; remove it") as caught:
                read_state(path)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        {"values": {}, "arrays": [["w", "<f8", [10**15]]]},
        {"values": {}, "arrays": [["w", "<f8", [10**15, 10**15]]]},
        {"values": {}, "arrays": [["w", "<f8", [-1]]]},
        {"values": {}, "arrays": [["w", "|O", [1]]]},
        {"values": {}, "arrays": [["w"]]},
        {"values": {}},
        [],
    ],
)
def test_a_forged_header_costs_no_memory_and_is_refused(tmp_path, header):
    (tmp_path / "a.ckpt").write_bytes(forged(header))
    with pytest.raises(DataError, match="is no checkpoint"):
        read_state(tmp_path / "a.ckpt")


def test_a_failed_write_leaves_the_old_state_and_names_the_reason(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    write_state(path, STATE)
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_state(path, State({}, {"w": np.zeros(3)}))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_folder_that_has_gone_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone/"):
        write_state(tmp_path / "gone" / "a.ckpt", STATE)


def test_a_file_that_is_being_replaced_is_whole_at_every_moment(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with replaced(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_objects_are_not_written(tmp_path):
    with pytest.raises(TypeError, match="a checkpoint holds"):
        write_state(tmp_path / "a.ckpt", State({}, {"w": np.array([{}], dtype=object)}))
