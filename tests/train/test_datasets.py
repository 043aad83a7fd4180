"""Readers of every format on files made here, their refusals, and the published facts of the real sets."""

import gzip
import lzma

import h5py
import numpy as np
import pytest

from varpro.errors import DataError
from varpro.train.datasets import CIFAR_FILES, MNIST_FILES, load_dataset
from varpro.train.idx import read_bytes, read_idx


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


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
    for stem in MNIST_FILES:
        array = np.arange(rows) % 10 if "labels" in stem else rng.integers(0, 256, (rows, size, size))
        with opener(folder / (stem + ending), "wb") as file:
            file.write(idx_bytes(array))


@pytest.mark.parametrize("ending", ["", ".gz", ".xz"])
@pytest.mark.parametrize("below", ["", "mnist"])
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
        load_dataset("mnist", tmp_path / "nothing")
    for word in ("train-images-idx3-ubyte", str(tmp_path / "nothing"), "VARPRO_OFFLINE", "--data"):
        assert word in str(caught.value)


def test_sets_without_a_published_checksum_are_to_be_fetched_by_hand(tmp_path, offline):
    with pytest.raises(DataError, match="Toronto"):
        load_dataset("cifar10", tmp_path)


def test_a_download_that_fails_is_one_clear_line(tmp_path, offline, monkeypatch):
    import pooch

    def refuse(*args, **options):
        raise ConnectionError("no route to host")

    monkeypatch.setenv("VARPRO_OFFLINE", "0")
    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(DataError, match=r"cannot be downloaded \(no route to host\)"):
        load_dataset("mnist", tmp_path)


def test_a_download_with_a_wrong_checksum_is_refused(tmp_path, offline, monkeypatch):
    import pooch

    def wrong(url, known_hash, fname, path, **options):
        target = tmp_path / fname
        target.write_bytes(b"something else")
        if pooch.file_hash(str(target)) != known_hash.removeprefix("sha256:"):
            raise ValueError(f"hash of downloaded file ({fname}) does not match")

    monkeypatch.setenv("VARPRO_OFFLINE", "0")
    monkeypatch.setattr(pooch, "retrieve", wrong)
    with pytest.raises(DataError, match="wrong SHA-256"):
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
    for stem in CIFAR_FILES:
        records = np.concatenate([(np.arange(20) % 10)[:, None], rng.integers(0, 256, (20, 3072))], axis=1).astype(np.uint8)
        (tmp_path / stem).write_bytes(records.tobytes())
    data = load_dataset("cifar10", tmp_path)
    assert data.train.images.shape == (100, 3, 32, 32)
    assert data.shape == (3, 32, 32)
    assert data.class_names[2] == "bird"
    (tmp_path / CIFAR_FILES[0]).write_bytes(b"\x00" * 3072)
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
        (spoilt(labels=OWN["labels"][:5]), "one label an image"),
        (spoilt(images=with_pixel(np.nan)), "NaN or infinite"),
        (spoilt(images=with_pixel(np.inf)), "NaN or infinite"),
        (spoilt(images=255 * OWN["images"]), "divide by"),
        (spoilt(images=with_pixel(-0.5)), r"must lie in \[0, 1\]"),
        (spoilt(labels=OWN["labels"] - 1), "a label is -1"),
        (spoilt(labels=OWN["labels"] + 0.5), "whole numbers"),
        (spoilt(labels=np.full(36, np.nan)), "whole numbers"),
        (spoilt(labels=np.where(OWN["labels"] == 1, 3, OWN["labels"])), "no training image is of class 1"),
        (spoilt(labels=OWN["labels"] + 10**9), "with an example of each"),
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
    assert cifar.train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    np.testing.assert_allclose(cifar.train.images.mean(axis=(0, 2, 3)) / 255, [0.49139968, 0.48215841, 0.44653091], atol=1e-7)
