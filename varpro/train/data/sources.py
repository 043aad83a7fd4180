"""How the files of public data sets are found, and fetched and verified if they are missing.

A file that is found is used as it is; only downloads are verified, since a user's own IDX files are just as good.
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
"""Endings of a file, which may be plain or compressed."""


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


def search_path(data_dir: Path | None) -> list[Path]:
    """Folders to search, in order: --data, VARPRO_DATA, ./data, the user's cache."""
    folders = [data_dir, os.environ.get("VARPRO_DATA"), Path("data"), cache_folder()]
    return [Path(folder) for folder in folders if folder]


def cache_folder() -> Path:
    """Where downloads are kept."""
    import pooch

    return Path(pooch.os_cache("varpro"))


@dataclass(frozen=True, slots=True)
class PublishedFiles:
    """The files of a data set by name."""

    dataset: str
    downloads: dict[str, Download]
    """The downloads by file name, without the ending of a compression."""
    habits: tuple[str, ...] = ()
    """Folders in which other programs keep the files."""


def find_file(files: PublishedFiles, stem: str, data_dir: Path | None) -> Path | None:
    """The file of a data set, plain or compressed, in FOLDER/<dataset>/ or FOLDER/."""
    for folder in search_path(data_dir):
        for place in (folder / files.dataset, folder, *(folder / habit for habit in files.habits)):
            for ending in ENDINGS:
                if (path := place / (stem + ending)).is_file():
                    return path
    return None


def require_file(files: PublishedFiles, stem: str, data_dir: Path | None) -> Path:
    """The file, downloaded and verified if it cannot be found here.  Raises DataError.

    Two ranks that share a disk must not download at the same time: one calls first, the others find what it fetched.
    """
    found = find_file(files, stem, data_dir)
    if found is not None:
        return found
    download = files.downloads[stem]
    looked = ", ".join(str(folder) for folder in search_path(data_dir))
    missing = f"{files.dataset}: {stem} (plain, .gz or .xz) is in none of {looked}"
    remedy = f"fetch {download.url}{' and unpack it' if download.member else ''}, and name the folder with --data"
    if os.environ.get("VARPRO_OFFLINE", "") not in ("", "0"):
        raise DataError(f"{missing}, and VARPRO_OFFLINE forbids downloads; {remedy}")
    folder = cache_folder() / files.dataset
    try:
        saved = _retrieve(download, folder)
    except ValueError:  # pooch has removed the file
        raise DataError(
            f"{missing}, and the download of {download.name} has a wrong SHA-256 (damaged on its way, or changed at "
            f"its source); try again, or {remedy}"
        ) from None
    except Exception as error:  # the network's libraries may raise anything
        raise DataError(f"{missing}, and it cannot be downloaded ({_reason(error, download)}); {remedy}") from None
    return saved if download.member is None else _unpacked(saved, files.downloads, stem)


def _retrieve(download: Download, folder: Path) -> Path:
    """The file of a download, verified.  Raises ValueError if its SHA-256 is wrong."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # its messages would hide the one that matters
    web = pooch.HTTPDownloader(progressbar=_Announced(download.name))
    return Path(
        pooch.retrieve(
            download.url, known_hash=f"sha256:{download.sha256}", fname=download.name, path=folder, downloader=web
        )
    )


class _Announced:
    """pooch's progress bar: one line when the first bytes arrive, to explain a long silence."""

    def __init__(self, name: str) -> None:
        self.name, self.total, self.told = name, 0, False

    def update(self, count: int) -> None:
        """count more bytes have arrived."""
        if not self.told:
            sys.stderr.write(f"fetching {self.name} ({self.total / 1e6:.1f} MB)\n")
            self.told = True

    def reset(self) -> None:
        """Called by pooch before it fills up the bar."""

    def close(self) -> None:
        """Nothing to tidy up."""


def _unpacked(archive: Path, downloads: dict[str, Download], stem: str) -> Path:
    """Unpack all files of the set beside the archive, each completely or not at all; returns the requested one."""
    try:
        with tarfile.open(archive) as tar:
            for name, download in downloads.items():
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
