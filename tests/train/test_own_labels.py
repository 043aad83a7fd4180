"""The user's labels: whatever they are, they become classes with these names, and messages count as the file does."""

import h5py
import numpy as np
import pytest

from varpro.config.scalarized import parse_config
from varpro.errors import ConfigError, DataError
from varpro.train.data.datasets import label_values, load_dataset
from varpro.train.data.published import DATASETS

CIFAR = DATASETS["cifar10"].class_names

RNG = np.random.default_rng(0)
IMAGES = RNG.random((42, 5, 4))
NUMBERS = np.arange(42) % 3


def load(folder, labels, images=IMAGES, *, classes=None, **more):
    np.savez(folder / "own.npz", images=images, labels=labels, **more)
    return load_dataset(str(folder / "own.npz"), classes=classes)


LABELS = {
    "text": (np.array(["dog", "cat", "ape"])[NUMBERS], ("ape", "cat", "dog")),
    "text with blanks behind": (np.array(["dog ", "cat", "ape  "])[NUMBERS], ("ape", "cat", "dog")),
    "bytes": (np.array(["Öl", "Wasser", "Luft"])[NUMBERS].astype("U6"), ("Luft", "Wasser", "Öl")),
    "numbers as text": (np.array(["9", "10", "2"])[NUMBERS], ("2", "9", "10")),
    "gaps": (np.array([3, 800, 7])[NUMBERS], ("3", "7", "800")),
    "from 1": (NUMBERS + 1.0, ("1", "2", "3")),
    "minus and plus": (np.where(NUMBERS > 0, 1, -1), ("-1", "1")),
    "truth values": (NUMBERS > 0, ("False", "True")),
    "0..K-1": (NUMBERS.astype(np.uint8), ("0", "1", "2")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind_are_classes_in_order(tmp_path, kind):
    labels, names = LABELS[kind]
    data = load(tmp_path, labels)
    assert data.class_names == names
    for part, numbers in ((data.train, data.numbers), (data.test, np.setdiff1d(np.arange(42), data.numbers))):
        found = sorted((image.tobytes(), names[k]) for image, k in zip(part.images, part.labels, strict=True))
        given = [str(labels[n]).strip().removesuffix(".0") for n in numbers]
        assert found == sorted((IMAGES[n].tobytes(), name) for n, name in zip(numbers, given, strict=True))


def test_text_in_hdf5(tmp_path):
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["images"], file["labels"] = IMAGES, [["Öl", "b"][n % 2] for n in range(42)]
    assert load_dataset(str(tmp_path / "own.h5")).class_names == ("b", "Öl")


def test_a_given_order_of_the_classes_and_its_way_through_the_config(tmp_path):
    labels = np.array(["dog", "cat", "ape"])[NUMBERS]
    data = load(tmp_path, labels, classes=["dog", "ape", "cat"])
    assert data.class_names == ("dog", "ape", "cat")
    config = parse_config({"data": {"source": "own.npz"}}, "c").with_classes(data.class_names)
    again = parse_config(config.as_dict(), "c")
    assert again.data.classes == ["dog", "ape", "cat"]
    assert parse_config({"data": {"source": "a.npz", "classes": [3, 8]}}, "c").data.classes == ["3", "8"]
    with pytest.raises(DataError, match=r"'cat' is a label, but not in data.classes \(dog, ape\)"):
        load(tmp_path, labels, classes=["dog", "ape"])
    with pytest.raises(ConfigError, match=r"data\.classes is for your own images"):
        load_dataset("digits", classes=["a", "b"])


def lone(label_of_others="other", label="fox", place=0):
    labels = np.full(42, label_of_others, dtype="U8")
    labels[1::2] = "second"
    labels[place] = label
    return labels


def test_a_class_whose_only_image_tests_is_told_by_its_number_in_the_file(tmp_path):
    held = np.setdiff1d(np.arange(42), load(tmp_path, NUMBERS).numbers)
    for place in held[[0, -1]]:
        with pytest.raises(DataError, match=rf"class fox: its only image, number {place}, fell into the sixth .* test"):
            load(tmp_path, lone(place=place))


def test_a_class_whose_only_image_validates_is_told_by_its_number_in_the_file(tmp_path):
    place = load(tmp_path, NUMBERS).numbers[-1]
    data = load(tmp_path, lone(place=place))
    with pytest.raises(
        DataError, match=rf"of class fox: its only image, number {place} of the file, fell into the valid"
    ):
        data.split(None, None, None)


def test_a_class_that_only_the_test_part_has(tmp_path):
    with pytest.raises(DataError, match=r"no training image is of class 7, but test image 1 is of it"):
        load(tmp_path, NUMBERS, test_images=IMAGES[:2], test_labels=np.array([1, 7]))


def with_value(value, place=17):
    images = IMAGES.copy()
    images[place, 3, 2] = value
    return images


@pytest.mark.parametrize(("labels", "images", "message"), [
    (NUMBERS, with_value(np.nan), "image 17 has a pixel that is NaN"),
    (np.where(np.arange(42) == 17, np.nan, NUMBERS), IMAGES, "the label of image 17 is nan"),
    (np.where(np.arange(42) == 17, 0.5, NUMBERS), IMAGES, "the label of image 17 is 0.5"),
    (np.where(np.arange(42) == 17, "", "a"), IMAGES, r"the label of image 17 is '' \(1 such\)"),
    (np.where(np.arange(42) == 17, -1, NUMBERS), IMAGES, r"a label is -1 \(image 17\), as images without a label"),
    (np.arange(42), IMAGES, "42 images have 42 different labels"),
    (np.full(42, "cat"), IMAGES, "every label is cat; there must be two classes"),
])  # fmt: skip
def test_faults_are_told_by_the_number_in_the_file(tmp_path, labels, images, message):
    with pytest.raises(DataError, match=message):
        load(tmp_path, labels, images)


def test_truth_values_are_pixels(tmp_path):
    data = load(tmp_path, NUMBERS, IMAGES > 0.5)
    assert set(np.unique(data.train.images)) == {0.0, 1.0}


@pytest.mark.parametrize(("names", "dataset", "values"), [
    (("3", "8"), "mine", [3, 8]),
    (("cat", "dog"), "mine", ["cat", "dog"]),
    (("01", "x"), "mine", ["01", "x"]),
    (CIFAR[:3], "mine", list(CIFAR[:3])),
    ((), "old", [0, 1, 2]),
])  # fmt: skip
def test_predictions_name_classes_as_the_files_do(names, dataset, values):
    assert label_values(names, dataset, 3).tolist() == values


def test_predictions_of_the_public_sets_number_the_classes():
    assert label_values(CIFAR, "cifar10", 10).tolist() == list(range(10))
