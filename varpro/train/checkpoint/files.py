"""One state as one file: whole or absent, and no flipped or missing byte goes unnoticed.

    "varpro checkpoint 1", newline, SHA-256 of all that follows, newline, size of the header (8 bytes), header, arrays

The header is JSON, the arrays are raw bytes in its order.  The checksum is compared before anything is interpreted, and
no size that a header claims is believed: it has to be the size of the file.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError

Values = dict[str, Any]
"""Numbers and words, and lists and objects of them, as JSON holds them."""
MAGIC = b"varpro checkpoint 1\n"
DIGEST = 64
DTYPES = ("<f8", "<f4", "<i8", "<i4", "|u1", "|b1")
"""Numbers, and bytes of one length (|S4): nothing that a file could bring to life."""
PART = ".part"
"""The ending of a file that is being written."""


@dataclass(frozen=True)
class State:
    """Numbers and words that JSON can hold, and arrays by name."""

    values: Values = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary file to write, which takes the place of `path` when it is complete and on the disk.  Raises OSError.

    A kill at any moment leaves the old file, or the new one, and perhaps a temporary file.  A link stays one.
    """
    path = Path(os.path.realpath(path))
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        yield part
        _synchronise(part)
        os.replace(part, path)
        _synchronise(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _synchronise(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_state(path: Path, state: State) -> int:
    """Write a state; returns its bytes.  Raises OSError."""
    header, arrays = _header(state)
    content: list[bytes | memoryview] = [len(header).to_bytes(8, "little"), header, *map(bytes_of, arrays)]
    digest = hashlib.sha256()
    for piece in content:
        digest.update(piece)
    with replaced(path) as part, part.open("wb") as file:
        file.write(MAGIC + digest.hexdigest().encode() + b"\n")
        for piece in content:
            file.write(piece)
    return sum(len(piece) for piece in content)


def bytes_of(array: Array) -> memoryview | bytes:
    """The values of a contiguous array, without a copy."""
    return array.reshape(-1).data.cast("B") if array.size else b""


def _header(state: State) -> tuple[bytes, list[Array]]:
    arrays, listed = [], []
    for name, array in state.arrays.items():
        array = np.asarray(array, order="C")
        code = array.dtype.newbyteorder("<").str if array.dtype.byteorder == "=" else array.dtype.str
        if not _held(code):
            raise TypeError(f"{name} is {array.dtype}; a checkpoint holds {', '.join(DTYPES)}")
        arrays.append(array)
        listed.append([name, code, list(array.shape)])
    return json.dumps({"values": state.values, "arrays": listed}, default=_plain).encode(), arrays


def _held(code: str) -> bool:
    return code in DTYPES or re.fullmatch(r"\|S[1-9][0-9]{0,3}", code) is not None


def _plain(value: object) -> object:
    """A number of NumPy as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def read_state(path: Path) -> State:
    """Read a state that `write_state` wrote.  Raises DataError for any other file; the arrays are writable."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"checkpoint {path} cannot be read ({error.strerror}); {_REMEDY}") from None
    begin = len(MAGIC) + DIGEST + 1
    if content[: len(MAGIC)] != MAGIC or content[begin - 1 : begin] != b"\n":
        raise DataError(f"checkpoint {path} is damaged: it does not begin as a checkpoint; {_REMEDY}")
    body = memoryview(bytearray(memoryview(content)[begin:]))
    if hashlib.sha256(body).hexdigest().encode() != content[len(MAGIC) : begin - 1]:
        raise DataError(f"checkpoint {path} is damaged: its SHA-256 does not fit its content; {_REMEDY}")
    try:
        return _interpreted(body)
    except (ValueError, KeyError, TypeError) as error:  # a file that was made on purpose
        raise DataError(f"checkpoint {path} is no checkpoint ({' '.join(str(error).split())}); {_REMEDY}") from None


_REMEDY = "remove it, and --resume computes this part again"


def _interpreted(body: memoryview) -> State:
    size = int.from_bytes(body[:8], "little")
    header: Values = json.loads(bytes(body[8 : 8 + size]))
    place, arrays = 8 + size, {}
    for name, code, shape in header["arrays"]:
        if not _held(code) or any(n < 0 for n in shape):
            raise ValueError(f"an array of {code} with shape {shape}")
        count = int(np.prod([int(n) for n in shape], dtype=object))
        end = place + count * np.dtype(code).itemsize
        if end > len(body):
            raise ValueError(f"{name} claims {end - place} bytes, {len(body) - place} are left")
        arrays[str(name)] = np.frombuffer(body[place:end], dtype=code).reshape(shape)
        place = end
    if place != len(body):
        raise ValueError(f"{len(body) - place} bytes belong to nothing")
    return State(dict(header["values"]), arrays)


def remove_parts(folder: Path) -> None:
    """Remove what killed writers have left."""
    for part in folder.glob(f".*{PART}"):
        with suppress(OSError):
            part.unlink()


__all__ = ["State", "bytes_of", "read_state", "remove_parts", "replaced", "write_state"]
