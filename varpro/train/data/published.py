"""The public data sets: where each is published, how to read its files, and the names of its classes.

To add one, write a class here that registers its name.
"""

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError
from varpro.registry import Registry
from varpro.train.data.idx import read_cifar_batches, read_idx, read_optdigits
from varpro.train.data.parts import DataSet, Part
from varpro.train.data.sources import Download, PublishedFiles

DIGITS = tuple(str(d) for d in range(10))
DIGITS_TEST = 360
"""The number of embedded digits, from the end, that form the test part."""
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/optdigits"
CIFAR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


class PublicSet(ABC):
    """A data set by name."""

    downloads: ClassVar[dict[str, Download]] = {}
    """Its files by name, without the ending of a compression, in the order that `read` expects."""
    habits: ClassVar[tuple[str, ...]] = ()
    """Folders in which other programs keep it."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names for it."""
    class_names: ClassVar[tuple[str, ...]] = DIGITS
    labels_sha256: ClassVar[str | None] = None
    """The SHA-256 of the training labels, if another set has files of the same names."""

    @classmethod
    def files(cls, name: str) -> PublishedFiles:
        """Where to find its files; name : the one under which it is registered."""
        return PublishedFiles(name, cls.downloads, cls.habits)

    @classmethod
    @abstractmethod
    def read(cls, name: str, paths: list[Path]) -> DataSet:
        """The data set from its files.  Raises DataError."""


DATASETS: Registry[type[PublicSet]] = Registry("data.source")


def _gzipped(base: str, hashes: tuple[str, ...]) -> dict[str, Download]:
    return {stem: Download(f"{base}/{stem}.gz", sha256) for stem, sha256 in zip(IDX, hashes, strict=True)}


class IdxSet(PublicSet):
    """Images and labels of both parts in four IDX files."""

    @classmethod
    def read(cls, name: str, paths: list[Path]) -> DataSet:
        train, test = _idx_part(paths[:2]), _idx_part(paths[2:])
        _check_identity(name, train.labels, paths[1])
        return DataSet(name, train, test, cls.class_names, _usual_validation(train))


@DATASETS.register("mnist")
class Mnist(IdxSet):
    """Handwritten digits, 28 x 28."""

    downloads = _gzipped(
        MNIST,
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    )
    habits = ("MNIST/raw",)
    labels_sha256 = "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"


@DATASETS.register("fashion-mnist")
class FashionMnist(IdxSet):
    """Clothes, 28 x 28."""

    downloads = _gzipped(
        FASHION,
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    )
    habits = ("FashionMNIST/raw",)
    aliases = ("fashion", "fashion_mnist")
    class_names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    labels_sha256 = "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7"


@DATASETS.register("cifar10")
class Cifar10(PublicSet):
    """Photographs in colour, 32 x 32."""

    downloads: ClassVar = {stem: Download(CIFAR, CIFAR_SHA256, f"cifar-10-batches-bin/{stem}") for stem in BATCHES}
    habits = ("cifar-10-batches-bin",)
    aliases = ("cifar-10",)
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    @classmethod
    def read(cls, name: str, paths: list[Path]) -> DataSet:
        train, test = (Part(*read_cifar_batches(batches)) for batches in (paths[:-1], paths[-1:]))
        return DataSet(name, train, test, cls.class_names, _usual_validation(train))


@DATASETS.register("optdigits")
class Optdigits(PublicSet):
    """Handwritten digits, 8 x 8."""

    downloads: ClassVar = {
        "optdigits.tra": Download(
            f"{UCI}/optdigits.tra", "e1b683cc211604fe8fd8c4417e6a69f31380e0c61d4af22e93cc21e9257ffedd"
        ),
        "optdigits.tes": Download(
            f"{UCI}/optdigits.tes", "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
        ),
    }

    @classmethod
    def read(cls, name: str, paths: list[Path]) -> DataSet:
        train, test = (Part(*read_optdigits(path)) for path in paths)
        return DataSet(name, train, test, cls.class_names, len(train) // 6)


@DATASETS.register("digits")
class EmbeddedDigits(PublicSet):
    """The 1,797 digits that scikit-learn ships (the test part of optdigits): the last 360 are the test part."""

    @classmethod
    def read(cls, name: str, paths: list[Path]) -> DataSet:
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise DataError(
                f"data.source is {name}: they come with scikit-learn, which is not installed; "
                "pip install 'varpro[train]'"
            ) from None
        bunch = load_digits()
        images, labels = (bunch.images / 16.0).astype(np.float32), bunch.target
        first = len(labels) - DIGITS_TEST
        train, test = Part(images[:first], labels[:first]), Part(images[first:], labels[first:])
        return DataSet(name, train, test, cls.class_names, first // 6)


def _usual_validation(train: Part) -> int:
    """10,000 images for the published sets, a sixth for smaller files in their place."""
    return 10_000 if len(train) >= 50_000 else len(train) // 6


def _idx_part(paths: list[Path]) -> Part:
    """Images and labels of two IDX files."""
    images, labels = (read_idx(path) for path in paths)
    for array, path, dimensions, belong in ((images, paths[0], 3, "images"), (labels, paths[1], 1, "labels")):
        if array.ndim != dimensions:
            raise DataError(f"{path}: holds no {belong}; two files may have changed places: fetch both again")
    if len(images) != len(labels):
        raise DataError(f"{paths[0]} holds {len(images)} images, but {paths[1]} {len(labels)} labels; fetch both again")
    return Part(images, labels)


def _check_identity(name: str, labels: Array, path: Path) -> None:
    """Raise DataError if one of two sets is found in the place of the other."""
    digest = hashlib.sha256(labels.tobytes()).hexdigest()
    for other in DATASETS:
        if digest == DATASETS[other].labels_sha256 and other != name:
            raise DataError(
                f"{path}: holds the labels of {other}, but {name} was asked for; "
                f"put the files of {name} into a folder called {name}, or set data.source: {other}"
            )
