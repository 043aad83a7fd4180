"""Parquet files of images: a column of labels, and pixels as columns of numbers, as one list, or as encoded pictures.

Rows are asked for in a random order, and a compressed file gives them only by whole row groups.  So each group is read
once, batch by batch, and laid down as bytes beside the conversion, where any row can be reached.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from math import isqrt, prod
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from varpro.arrays import Array
from varpro.errors import BackendError, DataError, VarproError
from varpro.train.checkpoint.files import replaced
from varpro.train.data.picture_files import load_picture, require_pillow
from varpro.train.data.pixels import as_bytes, check_pixels

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

SUFFIXES = (".parquet", ".pq")
LABELS = ("label", "labels", "class", "target", "y", "fine_label")
"""Names of the labels' column, the first that exists, unless it is given."""
IMAGES = ("image", "images", "img", "pixels")
"""Names by which a column is known to hold the whole image."""
BATCH_BYTES = 1 << 26


def parquet_files(path: Path) -> list[Path]:
    """The file, or the files of a folder in the order of their names; empty if the path is something else."""
    if path.is_dir():
        return sorted(file for suffix in SUFFIXES for file in path.glob(f"*{suffix}"))
    return [path] if path.suffix.lower() in SUFFIXES else []


@dataclass
class ParquetImages:
    """The images of some Parquet files with equal columns, in the order of the files."""

    files: Sequence[Path]
    label_column: str | None = None
    shape: tuple[int, ...] | None = None
    """The (C, L, R) or (L, R) of an image; None = as nested lists or pictures say, else a square."""
    labels: Array = field(init=False)
    """The labels as they stand in the column, (N,)."""
    whole_shape: tuple[int, int, int] = field(init=False)
    """The (planes, rows, columns) of an image."""
    _columns: list[str] = field(init=False)
    _groups: list[tuple[Path, int]] = field(init=False)
    """File and number of each row group."""

    def __post_init__(self) -> None:
        self._groups, parts = [], []
        for path in self.files:
            with _opened(path) as file:
                names = file.schema_arrow.names
                if path == self.files[0]:
                    self.label_column = _label_column(path, names, self.label_column)
                    self._columns = _pixel_columns(path, file.schema_arrow, self.label_column)
                missing = {str(self.label_column), *self._columns} - set(names)
                if missing:
                    raise DataError(f"{path}: lacks the columns {', '.join(sorted(missing))} of {self.files[0].name}")
                self._groups += [(path, number) for number in range(file.num_row_groups)]
                parts.append(_label_values(path, file, str(self.label_column)))
        self.labels = np.concatenate(parts)
        if not len(self.labels):
            raise DataError(f"{self.files[0]}: holds no rows")
        first = next(images for group in self._groups for images in self._batches(*group, rows=1) if len(images))
        self.whole_shape = self._whole_shape(first.shape[1:])

    def _whole_shape(self, found: tuple[int, ...]) -> tuple[int, int, int]:
        """The (C, L, R) of images whose arrays have the shape `found`."""
        shape = self.shape or found
        if len(shape) == 1:
            side = isqrt(shape[0])
            if side * side != shape[0]:
                raise DataError(
                    f"{self.files[0]}: images of {shape[0]} numbers are no squares; name their shape: --shape 3x32x32"
                )
            shape = (side, side)
        if prod(shape) != prod(found) or len(shape) not in (2, 3):
            raise DataError(
                f"{self.files[0]}: images have {' x '.join(map(str, found))} numbers, which are not "
                f"{' x '.join(map(str, shape))}; name their shape, planes first, with --shape"
            )
        planes, rows, columns = (1, *shape)[-3:]
        return planes, rows, columns

    def unpack(self, folder: Path) -> "UnpackedImages":
        """Lay every row group down as bytes in a folder, unless it is there.  Raises DataError, OSError."""
        paths = []
        for place, (path, number) in enumerate(self._groups):
            target = folder / f"group-{place}.npy"
            paths.append(target)
            if not target.is_file():
                batches = [self._of_one_size(path, images) for images in self._batches(path, number)]
                images = np.concatenate(batches) if batches else np.empty((0, *self.whole_shape), np.uint8)
                with replaced(target) as part, part.open("wb") as file:
                    np.save(file, images, allow_pickle=False)
        found = UnpackedImages(paths)
        if found.first[-1] != len(self.labels):
            raise DataError(f"{self.files[0]}: {len(self.labels)} labels, but {found.first[-1]} images")
        return found

    def _of_one_size(self, path: Path, images: Array) -> Array:
        if prod(images.shape[1:]) != prod(self.whole_shape):
            raise DataError(
                f"{path}: has images of {' x '.join(map(str, images.shape[1:]))}, {self.files[0].name} begins with "
                f"{' x '.join(map(str, self.whole_shape))}; all images need one size"
            )
        return images.reshape(-1, *self.whole_shape)

    def _batches(self, path: Path, number: int, rows: int | None = None) -> Iterator[Array]:
        """The images of a row group as bytes, so many rows at a time."""
        size = rows or max(1, BATCH_BYTES // (8 * prod(self.whole_shape)))
        with _opened(path) as file, _told(path):
            for batch in file.iter_batches(batch_size=size, row_groups=[number], columns=self._columns):
                yield self._images(path, batch)
                if rows is not None:
                    return

    def _images(self, path: Path, batch: "pyarrow.RecordBatch") -> Array:
        if len(self._columns) > 1:
            return _as_bytes(path, np.stack([_numbers(path, batch.column(name)) for name in self._columns], axis=1))
        column = batch.column(self._columns[0])
        encoded = _encoded(column)
        if encoded is None:
            return _as_bytes(path, _nested(path, column))
        images = [load_picture(BytesIO(value or b""), f"{path}: a picture") for value in encoded]
        if len({image.shape for image in images}) > 1:
            raise DataError(f"{path}: pictures of {sorted({i.shape for i in images})}; all pictures need one size")
        return np.stack(images)


class UnpackedImages:
    """Row groups as files of bytes: any rows can be read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._groups = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
        self.first = np.cumsum([0, *(len(group) for group in self._groups)], dtype=np.int64)
        """The number of the first row of each group, and the number of all rows."""

    def read(self, rows: Array) -> Array:
        """The images (n, C, L, R) of some rows."""
        images = np.empty((len(rows), *self._groups[0].shape[1:]), np.uint8)
        group = np.searchsorted(self.first, rows, side="right") - 1
        for number in np.unique(group).tolist():
            there = np.flatnonzero(group == number)
            there = there[np.argsort(rows[there])]  # the disk is read forwards
            images[there] = self._groups[number][rows[there] - self.first[number]]
        return images


def _pyarrow() -> ModuleType:
    try:
        import pyarrow.parquet
    except ImportError:
        raise BackendError("Parquet files need pyarrow, not installed here; pip install 'varpro[parquet]'") from None
    return pyarrow


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the library as DataError."""
    try:
        yield
    except VarproError:
        raise
    except (_pyarrow().ArrowException, OSError, ValueError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: cannot be read as Parquet ({reason}); write it again") from error


def _opened(path: Path) -> "ParquetFile":
    with _told(path):
        return _pyarrow().parquet.ParquetFile(path)


def _label_column(path: Path, names: list[str], given: str | None) -> str:
    found = next((name for name in ([given] if given else LABELS) if name in names), None)
    if found is None:
        what = f"no column {given}" if given else f"none of the columns {', '.join(LABELS)}"
        raise DataError(f"{path}: has {what}; name that of the labels with --label-column: {', '.join(names[:8])}")
    return found


def _pixel_columns(path: Path, schema: "pyarrow.Schema", labels: str) -> list[str]:
    """The one column that holds whole images, or all columns of numbers."""
    types = _pyarrow().types
    fields = [schema.field(name) for name in schema.names if name != labels]
    whole = [f.name for f in fields if f.name in IMAGES and not _is_number(types, f.type)]
    lists = [f.name for f in fields if types.is_list(f.type) or types.is_fixed_size_list(f.type)]
    numbers = [f.name for f in fields if _is_number(types, f.type)]
    for found in (whole, lists):
        if len(found) == 1:
            return found
    if len(numbers) < 2:
        raise DataError(
            f"{path}: no column holds images; it needs one of lists or pictures ({', '.join(IMAGES)}), or one for each "
            f"pixel; it has {', '.join(schema.names[:8])}"
        )
    return numbers


def _is_number(types: ModuleType, kind: "pyarrow.DataType") -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _label_values(path: Path, file: "ParquetFile", column: str) -> Array:
    with _told(path):
        table = file.read(columns=[column])
        values = table.column(0).combine_chunks()
        if len(values) != file.metadata.num_rows:
            raise DataError(f"{path}: claims {file.metadata.num_rows} rows and has {len(values)}; write it again")
        if values.null_count:
            raise DataError(f"{path}: {values.null_count} rows have no label; remove them")
        if _pyarrow().types.is_dictionary(values.type):
            values = values.dictionary_decode()
        return np.asarray(values.to_numpy(zero_copy_only=False))


def _numbers(path: Path, values: "pyarrow.Array") -> Array:
    """The numbers of a column, (n,).  Raises DataError."""
    if values.null_count:
        raise DataError(f"{path}: {values.null_count} pixels are missing; fill or remove them")
    if not _is_number(_pyarrow().types, values.type):
        raise DataError(f"{path}: pixels are {values.type}; numbers are needed")
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _nested(path: Path, column: "pyarrow.Array") -> Array:
    """Lists, or lists of lists, as an array (n, ...); all of one length at each depth."""
    shape, values, types = [len(column)], column, _pyarrow().types
    while types.is_list(values.type) or types.is_fixed_size_list(values.type):
        if values.null_count:
            raise DataError(f"{path}: {values.null_count} images are missing; remove them")
        inner = values.flatten()
        each, rest = divmod(len(inner), max(1, len(values)))
        lengths = values.value_lengths().to_numpy(zero_copy_only=False) if types.is_list(values.type) else each
        if rest or np.any(lengths != each):
            raise DataError(f"{path}: lists of unlike lengths; all images need one size")
        shape.append(each)
        values = inner
    return _numbers(path, values).reshape(shape)


def _encoded(column: "pyarrow.Array") -> list[bytes | None] | None:
    """The bytes of encoded pictures, plain or in a structure beside their names; None for another kind of column."""
    types = _pyarrow().types
    if types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = column.field("bytes")
    if not (types.is_binary(column.type) or types.is_large_binary(column.type)):
        return None
    require_pillow()
    return list(column.to_pylist())


def _as_bytes(path: Path, numbers: Array) -> Array:
    """Whole numbers 0 to 255 as they are, floats in [0, 1] in 255 steps."""
    if numbers.dtype.kind not in "ui":
        check_pixels(f"{path}:", numbers)
        return as_bytes(numbers)
    if numbers.size and not (numbers.min() >= 0 and numbers.max() <= 255):
        raise DataError(f"{path}: pixels lie in [{numbers.min()}, {numbers.max()}]; whole numbers go from 0 to 255")
    return numbers.astype(np.uint8)
