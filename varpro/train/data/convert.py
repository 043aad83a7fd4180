"""`varpro-data convert`: images and labels from files of many kinds into one file, by blocks, and where it stopped.

A source knows its labels and reads the images of some rows.  Each block of the result is kept in OUTPUT.part as soon as
it is read; when all are there, the file is written in one pass and sealed.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from varpro.arrays import Array
from varpro.errors import DataError, unwritable
from varpro.train.checkpoint.files import State, read_state, replaced, write_state
from varpro.train.checkpoint.hdf5 import written_hdf5
from varpro.train.data.converted import MAGIC
from varpro.train.data.source_files import ImageSource

BLOCK_BYTES = 1 << 26
Advance = Callable[[int], None]
Read = Callable[[Array], Array]


@dataclass(frozen=True)
class Plan:
    """Which rows of which source go where: a part is a source and the order of its rows."""

    train: tuple[ImageSource, Array]
    test: tuple[ImageSource, Array]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, train: ImageSource, test: ImageSource | None) -> "Plan":
        """Rows in an order drawn from a fixed seed; without a test source, a sixth of them is held out."""
        names = sorted({*train.labels, *(test.labels if test is not None else ())})
        if all(name.isdecimal() for name in names):
            names.sort(key=int)
        order = np.random.default_rng(0).permutation(len(train.labels))
        if test is not None:
            if test.shape != train.shape:
                raise DataError(f"test images have shape {test.shape}, the others {train.shape}; they must agree")
            return cls((train, order), (test, np.arange(len(test.labels))), tuple(names))
        first = len(order) - max(1, len(order) // 6)
        return cls((train, order[:first]), (train, order[first:]), tuple(names))

    @property
    def rows_per_block(self) -> int:
        """Rows in about 64 MB."""
        return max(1, BLOCK_BYTES // int(np.prod(self.train[0].shape)))

    @property
    def signature(self) -> list[object]:
        """What must be the same if a conversion is continued."""
        return [[source.signature, len(rows)] for source, rows in (self.train, self.test)]


def convert(plan: Plan, output: Path, advance: Advance, *, overwrite: bool = False) -> None:
    """Write the file; advance(rows) after each block.  Raises DataError, OutputError.

    overwrite : give up what a conversion of other files to this output has kept.
    """
    folder = output.with_name(f"{output.name}.part")
    try:
        folder.mkdir(exist_ok=True)
        _keep_plan(folder / "plan.ckpt", plan, overwrite=overwrite)
        step, blocks = plan.rows_per_block, {}
        for name, (source, rows) in (("train", plan.train), ("test", plan.test)):
            read = _reader(folder / ("train" if source is plan.train[0] else name), source)
            blocks[name] = [
                _block(folder, name, read, rows[first : first + step], first, advance)
                for first in range(0, len(rows), step)
            ]
        _assemble(plan, blocks, output)
        shutil.rmtree(folder)
    except OSError as error:
        raise unwritable(str(output), error, resume="give the same command again") from None


def _keep_plan(path: Path, plan: Plan, *, overwrite: bool) -> None:
    """Write down what is converted.  Raises DataError if the folder holds blocks of something else."""
    if path.is_file() and read_state(path).values["plan"] != plan.signature:
        if not overwrite:
            raise DataError(
                f"{path.parent} holds a part of the conversion of other files, or of these before they were changed; "
                "add --overwrite to begin anew, or name another output"
            )
        shutil.rmtree(path.parent)
        path.parent.mkdir()
    write_state(path, State({"plan": plan.signature}))


def _reader(folder: Path, source: ImageSource) -> Read:
    """What reads rows of a source; a compressed table is unpacked first."""
    if source.unpack is None:
        return source.read
    folder.mkdir(exist_ok=True)
    return source.unpack(folder)


def _block(folder: Path, name: str, read: Read, rows: Array, first: int, advance: Advance) -> Path:
    """The file of one block, written unless it is there."""
    path = folder / f"{name}-{first}.ckpt"
    if not path.is_file():
        write_state(path, State({}, {"images": read(rows), "numbers": rows}))
    advance(len(rows))
    return path


def _assemble(plan: Plan, blocks: dict[str, list[Path]], output: Path) -> None:
    places = {name: place for place, name in enumerate(plan.class_names)}
    with replaced(output) as part, written_hdf5(part, MAGIC) as file:
        file.attrs["class_names"] = list(plan.class_names)
        for name, (source, rows) in (("train", plan.train), ("test", plan.test)):
            labels = np.array([places[source.labels[row]] for row in rows.tolist()], dtype=np.int64)
            file.create_dataset(f"{name}/labels", data=labels, track_times=False)
            file.create_dataset(f"{name}/numbers", data=rows.astype(np.int64), track_times=False)
            images = file.create_dataset(f"{name}/images", (len(rows), *source.shape), np.uint8, track_times=False)
            first = 0
            for path in blocks[name]:
                block = read_state(path).arrays["images"]
                images[first : first + len(block)] = block
                first += len(block)
