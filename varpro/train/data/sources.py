"""Where the files of the public data sets are, and how they are fetched and verified when they are not there.

A file that is found is taken as it is: only downloads are verified, for a user's own IDX files are as good as any.
"""

import logging
import os
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from varpro.errors import DataError

ENDINGS = ("", ".gz", ".xz")
"""A file may lie here plain or compressed."""
HABITS = {
    "mnist": ("MNIST/raw",),
    "fashion-mnist": ("FashionMNIST/raw",),
    "cifar10": ("cifar-10-batches-bin",),
}
"""Folders that other programs keep these sets in."""

MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/optdigits"
CIFAR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")


@dataclass(frozen=True, slots=True)
class Download:
    """Where a file is published, and its SHA-256; `member` names it inside an archive."""

    url: str
    sha256: str
    member: str | None = None

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


def _gzipped(base: str, hashes: tuple[str, ...]) -> dict[str, Download]:
    return {stem: Download(f"{base}/{stem}.gz", sha256) for stem, sha256 in zip(IDX, hashes, strict=True)}


DOWNLOADS: dict[str, dict[str, Download]] = {
    "mnist": _gzipped(
        MNIST,
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": _gzipped(
        FASHION,
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    "cifar10": {stem: Download(CIFAR, CIFAR_SHA256, f"cifar-10-batches-bin/{stem}") for stem in BATCHES},
    "optdigits": {
        "optdigits.tra": Download(
            f"{UCI}/optdigits.tra", "e1b683cc211604fe8fd8c4417e6a69f31380e0c61d4af22e93cc21e9257ffedd"
        ),
        "optdigits.tes": Download(
            f"{UCI}/optdigits.tes", "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
        ),
    },
}
FILES = {dataset: tuple(files) for dataset, files in DOWNLOADS.items()}
"""The files of each set, without the ending of a compression."""


def search_path(data_dir: Path | None) -> list[Path]:
    """Folders that are searched, in order: --data, VARPRO_DATA, ./data, the user's cache."""
    folders = [data_dir, os.environ.get("VARPRO_DATA"), Path("data"), cache_folder()]
    return [Path(folder) for folder in folders if folder]


def cache_folder() -> Path:
    """Where downloads are kept."""
    import pooch

    return Path(pooch.os_cache("varpro"))


def find_file(dataset: str, stem: str, data_dir: Path | None) -> Path | None:
    """The file of a data set, plain or compressed, in FOLDER/<dataset>/ or FOLDER/."""
    for folder in search_path(data_dir):
        for place in (folder / dataset, folder, *(folder / habit for habit in HABITS.get(dataset, ()))):
            for ending in ENDINGS:
                if (path := place / (stem + ending)).is_file():
                    return path
    return None


def require_file(dataset: str, stem: str, data_dir: Path | None) -> Path:
    """The file, downloaded and verified if it is nowhere here.  Raises DataError.

    Two ranks that share a disk must not download at a time: one calls first, the others find what it fetched.
    """
    found = find_file(dataset, stem, data_dir)
    if found is not None:
        return found
    download = DOWNLOADS[dataset][stem]
    looked = ", ".join(str(folder) for folder in search_path(data_dir))
    missing = f"{dataset}: {stem} (plain, .gz or .xz) is in none of {looked}"
    remedy = f"fetch {download.url}{' and unpack it' if download.member else ''}, and name the folder with --data"
    if os.environ.get("VARPRO_OFFLINE", "") not in ("", "0"):
        raise DataError(f"{missing}, and VARPRO_OFFLINE forbids downloads; {remedy}")
    folder = cache_folder() / dataset
    try:
        saved = _retrieve(download, folder)
    except ValueError:  # pooch has removed the file
        raise DataError(
            f"{missing}, and the download of {download.name} has a wrong SHA-256 (damaged on its way, or changed at "
            f"its source); try again, or {remedy}"
        ) from None
    except Exception as error:  # whatever the network's libraries raise
        raise DataError(f"{missing}, and it cannot be downloaded ({_reason(error, download)}); {remedy}") from None
    return saved if download.member is None else _unpacked(saved, dataset, stem)


def _retrieve(download: Download, folder: Path) -> Path:
    """The file of a download, verified.  Raises ValueError if its SHA-256 is wrong."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # its lines would stand between the user and the one that matters
    web = pooch.HTTPDownloader(progressbar=_Announced(download.name))
    return Path(
        pooch.retrieve(
            download.url, known_hash=f"sha256:{download.sha256}", fname=download.name, path=folder, downloader=web
        )
    )


class _Announced:
    """pooch's progress bar: one line when the first bytes have come, so that a long silence has a reason."""

    def __init__(self, name: str) -> None:
        self.name, self.total, self.told = name, 0, False

    def update(self, count: int) -> None:
        """count more bytes are here"""
        if not self.told:
            sys.stderr.write(f"fetching {self.name} ({self.total / 1e6:.1f} MB)\n")
            self.told = True

    def reset(self) -> None:
        """pooch calls it before it fills the bar up."""

    def close(self) -> None:
        """Nothing to tidy."""


def _unpacked(archive: Path, dataset: str, stem: str) -> Path:
    """All the set's files from its archive, beside it, each whole or not there; the one asked for."""
    try:
        with tarfile.open(archive) as tar:
            for name, download in DOWNLOADS[dataset].items():
                content = tar.extractfile(str(download.member))
                assert content is not None
                target = archive.parent / name
                part = target.with_name(f"{name}.{os.getpid()}.part")
                part.write_bytes(content.read())
                part.replace(target)
        archive.unlink()
    except (OSError, KeyError, tarfile.TarError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error}); free space, or remove it and try again") from None
    return archive.parent / stem


def _reason(error: Exception, download: Download) -> str:
    """Why a download failed, in a few words."""
    host, kind = urlsplit(download.url).hostname, type(error)
    if kind.__module__.startswith("requests"):
        response: Any = getattr(error, "response", None)
        if response is not None:
            return f"{host} answers {response.status_code} {response.reason}"
        return f"{host} does not answer in time" if "Timeout" in kind.__name__ else f"no connection to {host}"
    text = " ".join(str(error).split()) or kind.__name__
    return text if len(text) <= 120 else text[:117] + "..."
