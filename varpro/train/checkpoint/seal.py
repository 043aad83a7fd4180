"""The seal of an HDF5 file: the SHA-256 of its content, in the first bytes, which HDF5 leaves to the file's user.

A flipped or missing byte is found before the library that reads HDF5 sees the file.
"""

import hashlib
from pathlib import Path

SEAL_BYTES = 512
"""The size of the user's block, the least that HDF5 allows."""
PIECE = 1 << 22
"""Bytes that are read at a time."""


def seal_of(path: Path, magic: bytes) -> bytes:
    """The block, which begins with `magic`, that belongs to the rest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(SEAL_BYTES)
        while piece := file.read(PIECE):
            digest.update(piece)
    return (magic + digest.hexdigest().encode() + b"\n").ljust(SEAL_BYTES, b"\0")
