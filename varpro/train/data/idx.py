"""Reading the published files byte by byte: IDX (MNIST), CIFAR-10 batches, optdigits text; plain, .gz or .xz."""

import gzip
import lzma
import math
import zlib
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError

CIFAR_RECORD = 1 + 3 * 32 * 32


def read_bytes(path: Path) -> bytes:
    """The content of a file, decompressed according to its ending.  Raises DataError if it is missing or damaged."""
    decompress = {".gz": gzip.decompress, ".xz": lzma.decompress}.get(path.suffix, bytes)
    try:
        return decompress(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: damaged or cut short ({error}); fetch it again") from error


def read_idx(path: Path) -> Array:
    """An IDX file of bytes as a uint8 array: images (N, rows, columns) or labels (N,)."""
    content = read_bytes(path)
    if len(content) < 8 or content[:3] != b"\x00\x00\x08" or content[3] not in (1, 3):
        found = content[:4].hex() or "nothing"
        raise DataError(f"{path}: not an IDX file of bytes: it begins with {found}, 00000801 or 00000803 was expected")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path}: the header is cut short; fetch the file again")
    shape = tuple(int(n) for n in np.frombuffer(content, ">i4", dimensions, 4))
    expected = start + math.prod(shape)
    if min(shape) < 0 or len(content) != expected:
        raise DataError(
            f"{path}: holds {len(content)} bytes, but its header tells of {' x '.join(map(str, shape))} values, "
            f"{expected} bytes; fetch the file again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_cifar_batches(paths: list[Path]) -> tuple[Array, Array]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) of the official binary batches: records of a label and three planes.

    Only one batch at a time is held besides the result.  Raises DataError.
    """
    images, labels = np.empty((0, 3, 32, 32), np.uint8), []
    for path in paths:
        content = read_bytes(path)
        if not content or len(content) % CIFAR_RECORD:
            raise DataError(
                f"{path}: {len(content)} bytes are no whole number of {CIFAR_RECORD}-byte records; fetch the file again"
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, CIFAR_RECORD)
        if records[:, 0].max() > 9:
            raise DataError(f"{path}: holds a label of {records[:, 0].max()}, the largest is 9; fetch the file again")
        first = len(images)
        images.resize((first + len(records), 3, 32, 32), refcheck=False)
        images[first:] = records[:, 1:].reshape(-1, 3, 32, 32)
        labels.append(records[:, 0].copy())
    return images, np.concatenate(labels)


def read_optdigits(path: Path) -> tuple[Array, Array]:
    """Images (N, 8, 8) float32 in [0, 1] (the file holds 0..16) and labels (N,); text with 65 whole numbers per
    line."""
    rows = []
    for number, line in enumerate(read_bytes(path).decode("ascii", errors="replace").splitlines(), 1):
        values = line.split(",")
        if len(values) != 65 or not all(v.strip().isdigit() for v in values):
            raise DataError(
                f"{path}, line {number}: 65 whole numbers separated by commas were expected; fetch the file again"
            )
        rows.append([int(v) for v in values])
    if not rows:
        raise DataError(f"{path}: holds no line; fetch the file again")
    table = np.array(rows)
    if table[:, :64].max() > 16:
        raise DataError(f"{path}: holds a pixel of {table[:, :64].max()}, the largest is 16; fetch the file again")
    return (table[:, :64].reshape(-1, 8, 8) / 16.0).astype(np.float32), table[:, 64]
