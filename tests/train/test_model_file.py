"""model.h5: no damage goes unnoticed, and files without a seal are read with care."""

import h5py
import numpy as np
import pytest

import varpro
from tests.train.small_run import config_of, dataset
from varpro.distributed.communicator import SerialCommunicator
from varpro.errors import DataError
from varpro.report.progress import Display
from varpro.train.data.prepared import Prepared
from varpro.train.scalarized.storage import save_network
from varpro.train.scalarized.trainer import train


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    found = train(Prepared.of(config_of(), dataset()), SerialCommunicator(), display=Display())
    path = tmp_path_factory.mktemp("model") / "model.h5"
    save_network(path, found[1])
    return path


def test_every_damage_of_a_model_file_is_told_in_one_line(tmp_path, whole):
    content = whole.read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "model.h5"
    for place in [*range(0, 600, 7), *rng.integers(0, len(content), 120)]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        for bad in (bytes(flipped), content[:place], content[:place] + content[place + 1 :]):
            path.write_bytes(bad)
            with pytest.raises(DataError, match="not a model file of varpro-train, or damaged") as caught:
                varpro.load(path)
            assert "\n" not in str(caught.value)


def test_a_model_of_version_0_1_has_no_seal_and_is_still_read(tmp_path, whole):
    with h5py.File(whole) as new, h5py.File(tmp_path / "old.h5", "w") as old:
        for key, value in new.attrs.items():
            old.attrs[key] = 1 if key == "format" else value
        for key, value in new.items():
            if key != "calibration":  # version 0.1 had none
                old[key] = value[:]
    images = np.random.default_rng(0).random((4, 5, 5))
    np.testing.assert_array_equal(varpro.load(tmp_path / "old.h5").scores(images), varpro.load(whole).scores(images))
    with h5py.File(tmp_path / "old.h5", "a") as old:
        del old["w"]
        old.create_dataset("w", shape=(10**15,), dtype="f8", chunks=(1024,))
    with pytest.raises(DataError, match="w claims 8000000000000000 bytes"):
        varpro.load(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "a") as old:
        old.attrs["format"] = 2
    with pytest.raises(DataError, match="its first bytes are missing"):
        varpro.load(tmp_path / "old.h5")
