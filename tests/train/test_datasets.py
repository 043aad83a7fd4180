"""Readers of every format on files made here, their refusals, and the published facts of the real sets."""

import gzip
import hashlib
import lzma

import h5py
import numpy as np
import pytest

from tests.idx import idx_bytes
from varpro.errors import DataError
from varpro.train.data.datasets import load_dataset
from varpro.train.data.idx import read_bytes, read_idx
from varpro.train.data.published import DATASETS


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("VARPRO_OFFLINE", "1")
    monkeypatch.delenv("VARPRO_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def write_mnist(folder, ending="", rows=60, size=6):
    rng = np.random.default_rng(0)
    opener = {"": open, ".gz": gzip.open, ".xz": lzma.open}[ending]
    folder.mkdir(parents=True, exist_ok=True)
    for stem in list(DATASETS["mnist"].downloads):
        array = np.arange(rows) % 10 if "labels" in stem else rng.integers(0, 256, (rows, size, size))
        with opener(folder / (stem + ending), "wb") as file:
            file.write(idx_bytes(array))


@pytest.mark.parametrize("ending", ["", ".gz", ".xz"])
@pytest.mark.parametrize("below", ["", "mnist", "MNIST/raw"])
def test_idx_files_plain_or_compressed_in_the_folder_or_below(tmp_path, offline, ending, below):
    write_mnist(tmp_path / "d" / below, ending)
    data = load_dataset("mnist", tmp_path / "d")
    assert data.train.images.shape == (60, 6, 6)
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.tolist() == [i % 10 for i in range(60)]
    assert data.shape == (1, 6, 6)


def test_folder_from_the_environment(tmp_path, offline, monkeypatch):
    write_mnist(tmp_path / "elsewhere")
    monkeypatch.setenv("VARPRO_DATA", str(tmp_path / "elsewhere"))
    assert len(load_dataset("mnist").train) == 60


def test_missing_files_name_the_file_the_places_and_the_remedy(tmp_path, offline):
    with pytest.raises(DataError) as caught:
        load_dataset("mnist", tmp_path)
    for word in ("train-images-idx3-ubyte", str(tmp_path), "cache", "VARPRO_OFFLINE", "https://", "--data"):
        assert word in str(caught.value)


def test_a_data_folder_that_is_not_there_is_told_even_where_it_is_not_needed(tmp_path):
    with pytest.raises(DataError, match=r"--data .*nothing: no such folder"):
        load_dataset("digits", tmp_path / "nothing")


def test_one_set_in_the_place_of_the_other_is_noticed(tmp_path, offline, monkeypatch):
    write_mnist(tmp_path / "fashion-mnist")
    published = hashlib.sha256(bytes(i % 10 for i in range(60))).hexdigest()
    monkeypatch.setattr(DATASETS["mnist"], "labels_sha256", published)
    with pytest.raises(DataError, match=r"holds the labels of mnist, but fashion-mnist was asked for"):
        load_dataset("fashion", tmp_path)


def test_idx_files_that_do_not_belong_together(tmp_path, offline):
    write_mnist(tmp_path)
    images, labels = (tmp_path / stem for stem in list(DATASETS["mnist"].downloads)[:2])
    labels.write_bytes(idx_bytes(np.arange(59) % 10))
    with pytest.raises(DataError, match=r"images-idx3-ubyte holds 60 images, but .*labels-idx1-ubyte 59 labels"):
        load_dataset("mnist", tmp_path)
    labels.write_bytes(images.read_bytes())
    with pytest.raises(DataError, match=r"labels-idx1-ubyte: holds no labels"):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], "header tells of"),
        (lambda b: b + b"x", "header tells of"),
        (lambda b: b"\x00\x00\x09" + b[3:], "not an IDX file"),
        (lambda b: b"", "not an IDX file"),
        (lambda b: b[:10], "header is cut short"),
    ],
)
def test_damaged_idx_files(tmp_path, change, message):
    path = tmp_path / "file"
    path.write_bytes(change(idx_bytes(np.zeros((5, 4, 4)))))
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_truncated_compressed_files(tmp_path, ending):
    packed = {".gz": gzip.compress, ".xz": lzma.compress}[ending](np.random.default_rng(0).bytes(5000))
    path = tmp_path / f"file{ending}"
    path.write_bytes(packed[:-100])
    with pytest.raises(DataError, match="damaged or cut short"):
        read_bytes(path)
    path.write_bytes(b"not compressed at all")
    with pytest.raises(DataError, match="damaged or cut short"):
        read_bytes(path)


def test_cifar_batches(tmp_path, offline):
    rng = np.random.default_rng(0)
    for stem in list(DATASETS["cifar10"].downloads):
        records = rng.integers(0, 256, (20, 3073)).astype(np.uint8)
        records[:, 0] = np.arange(20) % 10
        (tmp_path / stem).write_bytes(records.tobytes())
    data = load_dataset("cifar10", tmp_path)
    assert data.train.images.shape == (100, 3, 32, 32)
    assert data.shape == (3, 32, 32)
    assert data.class_names[2] == "bird"
    last = np.frombuffer((tmp_path / "data_batch_5.bin").read_bytes(), np.uint8).reshape(20, 3073)
    np.testing.assert_array_equal(data.train.images[80:].reshape(20, -1), last[:, 1:])
    tested = np.frombuffer((tmp_path / "test_batch.bin").read_bytes(), np.uint8).reshape(20, 3073)
    np.testing.assert_array_equal(data.test.images.reshape(len(tested), -1), tested[:, 1:])
    (tmp_path / "test_batch.bin").write_bytes(b"\x0a" + b"\x00" * 3072)
    with pytest.raises(DataError, match="a label of 10"):
        load_dataset("cifar10", tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x00" * 3072)
    with pytest.raises(DataError, match="no whole number of 3073-byte records"):
        load_dataset("cifar10", tmp_path)


def test_embedded_digits_are_split_by_position():
    data = load_dataset("digits")
    assert (len(data.train), len(data.test), data.n_classes) == (1437, 360, 10)
    assert data.train.images.max() == 1.0
    split = data.split(None, None, None)
    assert len(split.train) + len(split.validation) == 1437
    np.testing.assert_array_equal(np.concatenate([split.train.labels, split.validation.labels]), data.train.labels)


def test_limits_of_a_split():
    data = load_dataset("digits")
    split = data.split(100, 50, 20)
    assert (len(split.train), len(split.validation), len(split.test)) == (50, 100, 20)
    with pytest.raises(DataError, match=r"data\.validation is 1437"):
        data.split(1437, None, None)
    with pytest.raises(DataError, match=r"none of the 4 images left to train on is of class 4; raise data\.train"):
        data.split(None, 4, None)


def test_optdigits_text(tmp_path, offline):
    lines = [",".join(["16"] * 8 + ["0"] * 56 + [str(i % 10)]) for i in range(30)]
    for stem in list(DATASETS["optdigits"].downloads):
        (tmp_path / stem).write_text("\n".join(lines) + "\n")
    data = load_dataset("optdigits", tmp_path)
    assert data.train.images.dtype == np.float32
    assert data.train.images[3].tolist() == [[1.0] * 8] + [[0.0] * 8] * 7
    short, bright = lines[0][:-2], lines[0].replace("16", "17", 1)
    for bad, message in ((short, "line 31: 65 whole"), (bright, "a pixel of 17"), ("", "line 31")):
        (tmp_path / "optdigits.tes").write_text("\n".join([*lines, bad]) + "\n")
        with pytest.raises(DataError, match=message):
            load_dataset("optdigits", tmp_path)


OWN = {"images": np.random.default_rng(0).random((36, 5, 4)), "labels": np.arange(36) % 3}


def save(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return str(path)


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_own_images_and_a_test_part_that_is_the_same_in_every_run(tmp_path, ending):
    source = save(tmp_path / f"own{ending}", OWN)
    data, again = load_dataset(source), load_dataset(source)
    assert (len(data.train), len(data.test), data.n_classes, data.name) == (30, 6, 3, "own")
    np.testing.assert_array_equal(data.test.images, again.test.images)
    together = np.concatenate([data.train.images, data.test.images])
    assert sorted(map(tuple, together.reshape(36, -1))) == sorted(map(tuple, OWN["images"].reshape(36, -1)))


def test_own_images_sorted_by_class_leave_every_part_with_every_class(tmp_path):
    arrays = {"images": OWN["images"], "labels": np.sort(OWN["labels"])}
    split = load_dataset(save(tmp_path / "own.npz", arrays)).split(None, None, None)
    assert [sorted(set(part.labels)) for part in (split.train, split.validation)] == [[0, 1, 2], [0, 1, 2]]


def test_hdf5_groups_in_the_place_of_arrays(tmp_path):
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file.create_group("images")
        file["labels"] = OWN["labels"]
    with pytest.raises(DataError, match="no array called images"):
        load_dataset(str(tmp_path / "own.h5"))


def test_own_test_part_is_taken_where_it_is_given(tmp_path):
    arrays = {**OWN, "test_images": OWN["images"][:4], "test_labels": OWN["labels"][:4]}
    data = load_dataset(save(tmp_path / "own.npz", arrays))
    assert (len(data.train), len(data.test)) == (36, 4)


def spoilt(**changes):
    return {**OWN, **changes}


def with_pixel(value):
    images = OWN["images"].copy()
    images[7, 2, 1] = value
    return images


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": OWN["labels"]}, "no array called images"),
        ({"images": OWN["images"]}, "no array called labels"),
        (spoilt(images=OWN["images"][:, 0]), r"images have shape \(36, 4\)"),
        (spoilt(labels=OWN["labels"][:5]), r"36 images but labels of shape \(5,\); each image needs one$"),
        (spoilt(labels=OWN["labels"][:, None]), r"labels\[:, 0\]"),
        (spoilt(labels=np.eye(3)[OWN["labels"]]), "argmax"),
        (spoilt(labels=np.zeros(36, int)), "two classes or more"),
        (spoilt(images=np.zeros((36, 8, 8, 3))), r"colour planes last.*moveaxis"),
        (spoilt(images=(255 * OWN["images"]).astype(int)), "divide by 255"),
        (spoilt(images=with_pixel(np.nan)), r"own.npz: image 7 has a pixel that is NaN or infinite \(1 of"),
        (spoilt(images=with_pixel(np.inf)), "NaN or infinite"),
        (spoilt(images=255 * OWN["images"]), "divide by"),
        (spoilt(images=with_pixel(-0.5)), r"must lie in \[0, 1\]"),
        (spoilt(labels=OWN["labels"] - 1), "a label is -1"),
        (spoilt(labels=OWN["labels"] + 0.5), "whole numbers"),
        (spoilt(labels=np.full(36, np.nan)), "whole numbers"),
        (spoilt(images=np.full((36, 5, 4), 0.5)), "nothing to learn"),
        (spoilt(images=np.zeros((0, 5, 4)), labels=np.zeros(0, int)), "no images"),
        (spoilt(images=OWN["images"].astype(str)), "numbers are needed"),
        (spoilt(test_images=OWN["images"]), "belong together"),
        (spoilt(test_images=OWN["images"][:, :4], test_labels=OWN["labels"]), "must agree"),
    ],
)
def test_own_data_that_cannot_be_trained_on(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(save(tmp_path / "own.npz", arrays))
    assert "\n" not in str(caught.value)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, images=np.array([{"a": 1}], dtype=object), labels=np.zeros(1))
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(str(path))


@pytest.mark.parametrize("name", ["own.npz", "own.h5"])
def test_damaged_or_missing_own_files(tmp_path, name):
    with pytest.raises(DataError, match="no such file"):
        load_dataset(str(tmp_path / name))
    (tmp_path / name).write_bytes(b"neither zip nor hdf5")
    with pytest.raises(DataError, match="cannot be read"):
        load_dataset(str(tmp_path / name))


def test_unknown_names_say_what_is_near():
    with pytest.raises(DataError, match="did you mean mnist"):
        load_dataset("minst")


def test_real_mnist_is_the_published_one(data_directory):
    data = load_dataset("mnist", data_directory)
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    split = data.split(None, None, None)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [50_000, 10_000, 10_000]


def test_real_fashion_cifar_and_optdigits(data_directory):
    assert load_dataset("fashion", data_directory).train.labels[:5].tolist() == [9, 0, 0, 3, 0]
    optdigits = load_dataset("optdigits", data_directory)
    assert (len(optdigits.train), len(optdigits.test)) == (3823, 1797)
    cifar = load_dataset("cifar10", data_directory)
    assert [len(part) for part in (cifar.split(None, None, None).train, cifar.test)] == [40_000, 10_000]
    assert cifar.train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    means = cifar.train.images.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.49139968, 0.48215841, 0.44653091], atol=1e-7)
