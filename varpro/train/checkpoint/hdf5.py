"""HDF5 files written so that a full disk is an error, as it is for any other file.

HDF5 cannot be told of it: h5py ends the process with a segmentation fault when a write fails while it closes a file.
So HDF5 writes through an object that keeps the first error to itself, and it is raised when HDF5 has finished.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from varpro.train.checkpoint.seal import SEAL_BYTES, seal_of


class _Unfailing(io.RawIOBase):
    """A file to write and read that tells HDF5 of no error; what could not be written reads as zeros."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._place = 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        place, self._place = self._place, self._place + len(content)
        if self.error is None:
            try:
                self._file.seek(place)
                while len(content):  # a disk with little room takes a part
                    content = content[self._file.write(content) :]
            except OSError as error:
                self.error = error
        return self._place - place

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        into[:] = bytes(len(into))
        self._file.seek(self._place)
        self._file.readinto(into)
        self._place += len(into)
        return len(into)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset += self._file.seek(0, io.SEEK_END)
        self._place = offset + (self._place if whence == io.SEEK_CUR else 0)
        return self._place

    def tell(self) -> int:
        return self._place

    def truncate(self, size: int | None = None) -> int:
        size = self._place if size is None else size
        if self.error is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self.error = error
        return size

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # a file system may tell of a lack of room only now
            self.error = self.error or error
        super().close()


@contextmanager
def written_hdf5(path: Path, magic: bytes = b"") -> Iterator[h5py.File]:
    """A new HDF5 file to write to; when the block ends it is complete, and sealed if `magic` is given.  Raises OSError.

    The same arrays in the same order make the same bytes.
    """
    file = _Unfailing(path)
    try:
        with h5py.File(file, "w", track_order=True, userblock_size=SEAL_BYTES if magic else None) as hdf5:
            yield hdf5
    finally:
        file.close()
        if file.error is not None:
            raise file.error
    if magic:
        with path.open("r+b") as begin:
            begin.write(seal_of(path, magic))
