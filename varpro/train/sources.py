"""Where the files of the public data sets are, and how they are fetched and verified when they are not there."""

import os
from dataclasses import dataclass
from pathlib import Path

from varpro.errors import DataError

ENDINGS = ("", ".gz", ".xz")
"""A file may lie here plain or compressed."""


@dataclass(frozen=True, slots=True)
class PublicFile:
    """A file that can be downloaded: its name, its SHA-256, and where from."""

    name: str
    sha256: str
    base: str


def _mnist(name: str, sha256: str) -> PublicFile:
    return PublicFile(name, sha256, "https://ossci-datasets.s3.amazonaws.com/mnist/")


def _fashion(name: str, sha256: str) -> PublicFile:
    return PublicFile(name, sha256, "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/")


DOWNLOADS: dict[str, dict[str, PublicFile]] = {
    "mnist": {
        "train-images-idx3-ubyte": _mnist("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        "train-labels-idx1-ubyte": _mnist("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        "t10k-images-idx3-ubyte": _mnist("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        "t10k-labels-idx1-ubyte": _mnist("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": _fashion("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        "train-labels-idx1-ubyte": _fashion("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        "t10k-images-idx3-ubyte": _fashion("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        "t10k-labels-idx1-ubyte": _fashion("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    },
}
BY_HAND = {
    "cifar10": "fetch cifar-10-binary.tar.gz from the data set's home page at the University of Toronto and unpack its six .bin files",
    "optdigits": "fetch optdigits.tra and optdigits.tes from the UCI Machine Learning Repository",
}
"""Sets whose publisher's single files cannot be verified by a published SHA-256."""


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
        for place in (folder / dataset, folder):
            for ending in ENDINGS:
                if (path := place / (stem + ending)).is_file():
                    return path
    return None


def fetch_file(dataset: str, stem: str, data_dir: Path | None) -> Path:
    """Download a file and verify it.  Raises DataError that names the file, where it was looked for, and what to do."""
    looked = ", ".join(str(folder) for folder in search_path(data_dir))
    missing = f"{dataset}: {stem} is in none of {looked}"
    public = DOWNLOADS.get(dataset, {}).get(stem)
    if public is None:
        raise DataError(f"{missing}; {BY_HAND[dataset]} into a folder and name it with --data")
    if os.environ.get("VARPRO_OFFLINE", "") not in ("", "0"):
        raise DataError(f"{missing}, and VARPRO_OFFLINE forbids downloads; put {public.name} into one of them or name a folder with --data")
    import pooch

    try:
        saved = pooch.retrieve(public.base + public.name, known_hash=f"sha256:{public.sha256}", fname=public.name, path=cache_folder() / dataset)
    except ValueError as error:  # pooch removes a file whose checksum is wrong
        raise DataError(f"{dataset}: the download of {public.name} has a wrong SHA-256 ({_last_words(error)}); try again, or fetch it by hand and name its folder with --data") from None
    except Exception as error:  # whatever the network's libraries raise
        raise DataError(f"{missing}, and it cannot be downloaded ({_last_words(error)}); put {public.name} into one of them or name a folder with --data") from None
    return Path(saved)


def _last_words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
