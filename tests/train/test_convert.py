"""Conversion of data: nothing is lost on the way, nothing is done twice, no damage goes unnoticed."""

import resource

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.idx import idx_bytes
from varpro.cli import data, train
from varpro.distributed import SerialCommunicator
from varpro.errors import DataError
from varpro.linalg.row_sums import row_blocks
from varpro.train.checkpoint.seal import SEAL_BYTES, seal_of
from varpro.train.data import convert
from varpro.train.data.converted import MAGIC, read_converted
from varpro.train.data.datasets import load_dataset
from varpro.train.data.source_files import Columns, open_source
from varpro.train.scalarized.partition import drawn_rows

RNG = np.random.default_rng(3)
LABELS = np.arange(60) % 3
IMAGES = RNG.integers(0, 256, (60, 7, 5), dtype=np.uint8)


def saved(folder, kind):
    """The arguments for a source of some kind, and its images as (N, C, L, R) with their labels."""
    if kind == "idx":
        (folder / "images").write_bytes(idx_bytes(IMAGES))
        (folder / "labels").write_bytes(idx_bytes(LABELS.astype(np.uint8)))
        return [folder / "images", "--labels", folder / "labels"], IMAGES[:, None], LABELS.astype(str)
    if kind == "npz":
        np.savez(folder / "own.npz", images=IMAGES / np.float32(255.0), labels=LABELS)
        return [folder / "own.npz"], IMAGES[:, None], LABELS.astype(str)
    if kind == "cifar":
        planes = RNG.integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)
        records = np.concatenate([LABELS.astype(np.uint8)[:, None], planes.reshape(60, -1)], axis=1)
        (folder / "data_batch_1.bin").write_bytes(records.tobytes())
        return [folder / "data_batch_1.bin"], planes, LABELS.astype(str)
    colour = RNG.integers(0, 256, (60, 7, 5, 3), dtype=np.uint8)
    names = np.array(["cat", "dog", "eel"])[np.sort(LABELS)]
    for number, (image, name) in enumerate(zip(colour, names, strict=True)):
        (folder / "pictures" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "pictures" / name / f"{number:03}.png")
    return [folder / "pictures"], np.moveaxis(colour, -1, 1), names


def converted(arguments, output, *options):
    return data.main([str(a) for a in ("convert", *arguments[:1], output, *arguments[1:], "--quiet", *options)])


@pytest.mark.parametrize("kind", ["idx", "npz", "cifar", "folder"])
def test_every_image_arrives_once_with_its_label(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 250)
    arguments, images, labels = saved(tmp_path, kind)
    assert converted(arguments, tmp_path / "out.h5") == 0
    found = load_dataset(str(tmp_path / "out.h5"))
    assert len(found.train) == 50
    assert len(found.test) == 10
    numbers = np.random.default_rng(0).permutation(60)
    for part, rows in ((found.train, numbers[:50]), (found.test, numbers[50:])):
        np.testing.assert_array_equal(part.images, images[rows])
        assert [found.class_names[k] for k in part.labels] == labels[rows].tolist()
    assert isinstance(found.train.images, np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir() if "out.h5" in path.name) == ["out.h5"]


def test_a_conversion_that_was_stopped_goes_on_and_writes_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 250)
    arguments, *_ = saved(tmp_path, "idx")
    assert converted(arguments, tmp_path / "whole.h5") == 0
    written, write = [], convert.write_state

    def stopping(path, state):
        if len(written) == 4:
            raise SystemExit(9)
        written.append(path.name)
        write(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(convert, "write_state", stopping)
        assert converted(arguments, tmp_path / "out.h5") == 9
    again = []
    monkeypatch.setattr(convert, "write_state", lambda path, state: (again.append(path.name), write(path, state)))
    assert converted(arguments, tmp_path / "out.h5") == 0
    assert not {name for name in written if name != "plan.ckpt"} & set(again)
    assert (tmp_path / "out.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_other_files_do_not_continue_it(capsys, tmp_path, monkeypatch):
    arguments, *_ = saved(tmp_path, "idx")
    with monkeypatch.context() as patch:
        patch.setattr(convert, "_assemble", lambda *a: (_ for _ in ()).throw(SystemExit(9)))
        assert converted(arguments, tmp_path / "out.h5") == 9
    capsys.readouterr()
    np.savez(tmp_path / "own.npz", images=IMAGES, labels=LABELS)
    assert converted([tmp_path / "own.npz"], tmp_path / "out.h5") == 2
    assert "the conversion of other files" in (line := capsys.readouterr().err)
    assert "--overwrite" in line
    assert converted([tmp_path / "own.npz"], tmp_path / "out.h5", "--overwrite") == 0
    assert len(load_dataset(str(tmp_path / "out.h5")).train) == 50


def test_a_picture_that_was_moved_to_another_class_is_another_source(tmp_path):
    arguments, *_ = saved(tmp_path, "folder")
    before = open_source(arguments[0], None, Columns())
    (tmp_path / "pictures" / "dog" / "020.png").rename(tmp_path / "pictures" / "cat" / "020.png")
    assert open_source(arguments[0], None, Columns()).signature != before.signature


def test_a_bad_picture_is_mended_and_the_conversion_begins_anew(capsys, tmp_path):
    arguments, *_ = saved(tmp_path, "folder")
    bad = tmp_path / "pictures" / "dog" / "020.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:40])
    assert converted(arguments, tmp_path / "out.h5", "--overwrite") == 2
    assert "020.png" in capsys.readouterr().err
    bad.write_bytes(good)
    assert converted(arguments, tmp_path / "out.h5", "--overwrite") == 0
    assert [path.name for path in tmp_path.iterdir() if "out.h5" in path.name] == ["out.h5"]


def test_outputs_that_cannot_be_are_told_before_any_work(capsys, tmp_path):
    arguments, *_ = saved(tmp_path, "npz")
    (tmp_path / "loop.h5").symlink_to(tmp_path / "loop.h5")
    (tmp_path / "same.h5").symlink_to(arguments[0])
    for name, words in (
        ("same.h5", "is a file that is read"), ("gone/out.h5", "is no folder; make it"),
        ("n" * 300 + ".h5", "File name too long"), ("loop.h5", "is a link to itself"),
    ):  # fmt: skip
        assert converted(arguments, tmp_path / name, "--overwrite") == 2
        line = capsys.readouterr().err
        assert words in line
        assert line.count("\n") == 1
    assert not list(tmp_path.glob("*.part"))


def test_a_link_stays_one(tmp_path):
    arguments, *_ = saved(tmp_path, "idx")
    (tmp_path / "large").mkdir()
    (tmp_path / "out.h5").symlink_to(tmp_path / "large" / "out.h5")
    assert converted(arguments, tmp_path / "out.h5", "--overwrite") == 0
    assert (tmp_path / "out.h5").is_symlink()
    assert len(load_dataset(str(tmp_path / "large" / "out.h5")).train) == 50


def test_every_damage_is_told_in_one_line(tmp_path):
    arguments, *_ = saved(tmp_path, "idx")
    assert converted(arguments, tmp_path / "out.h5") == 0
    whole = (tmp_path / "out.h5").read_bytes()
    for place in [*range(0, 700, 9), *RNG.integers(0, len(whole), 60)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(RNG.integers(8))
        for content in (bytes(flipped), whole[:place], whole[:place] + whole[place + 1 :]):
            (tmp_path / "bad.h5").write_bytes(content)
            with pytest.raises(DataError) as caught:
                read_converted(tmp_path / "bad.h5")
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_of_the_users_own_file_is_told_in_one_line_or_changes_nothing(tmp_path, save):
    """A zip archive has a CRC-32 of each array, and some bits that mean nothing, such as the dates of its files."""
    save(tmp_path / "own.npz", images=IMAGES, labels=LABELS)
    whole, good, told = (tmp_path / "own.npz").read_bytes(), load_dataset(str(tmp_path / "own.npz")), []
    for place in RNG.integers(0, len(whole), 100):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(RNG.integers(8))
        for content in (bytes(flipped), whole[:place], whole[:place] + whole[place + 1 :]):
            (tmp_path / "bad.npz").write_bytes(content)
            try:
                found = load_dataset(str(tmp_path / "bad.npz"))
            except DataError as error:
                told.append(str(error))
            else:
                np.testing.assert_array_equal(found.train.images, good.train.images)
                np.testing.assert_array_equal(found.train.labels, good.train.labels)
                np.testing.assert_array_equal(found.test.images, good.test.images)
    assert len(told) > 250
    assert "\n" not in "".join(told)


def test_the_trainer_takes_the_file(tmp_path):
    digits = load_dataset("digits")
    images = np.round(digits.train.images * 255).astype(np.uint8)
    np.savez(tmp_path / "digits.npz", images=images, labels=digits.train.labels)
    assert converted([tmp_path / "digits.npz"], tmp_path / "digits.h5") == 0
    small = [part for s in ("subnetworks=2", "units=3", "samples=100", "search.iterations=2", "bootstrap=false")
             for part in ("--set", s)]  # fmt: skip
    for source in ("digits.npz", "digits.h5"):
        options = ["--set", f"data.source={tmp_path / source}", "--output", str(tmp_path / f"o-{source}"), "--quiet"]
        assert train.main(["digits", *small, *options]) == 0
    first, second = ((tmp_path / f"o-{name}" / "model.h5") for name in ("digits.npz", "digits.h5"))
    assert first.stat().st_size == second.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "o.h5"], "no such file or folder"),
        (["images", "o.h5"], "needs one of labels"),
        (["images", "o.txt"], "give it the ending .h5"),
        (["empty", "o.h5"], "holds no pictures"),
    ],
)
def test_mistakes(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "images").write_bytes(idx_bytes(IMAGES))
    assert data.main(["convert", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_hundred_million_rows_need_64_bits_and_no_memory(tmp_path):
    rows, path = 10**8, tmp_path / "sparse.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.attrs["class_names"] = ["a", "b"]
        for part, count in (("train", rows), ("test", 1)):
            for name, shape, dtype in (("images", (1, 7, 7), "u1"), ("labels", (), "i8"), ("numbers", (), "i8")):
                made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
                space = h5py.h5s.create_simple((count, *shape))
                group = file.require_group(part)
                h5py.h5d.create(group.id, name.encode(), h5py.h5t.py_create(np.dtype(dtype)), space, made)
        file["train/images"][rows - 1] = 7
        file["train/labels"][rows - 1] = 1
    assert path.stat().st_size > 2**32
    assert path.stat().st_blocks * 512 < 10**7
    found = read_converted(path, verify=False)
    assert len(found.train) == rows
    last = row_blocks(rows, 1000, SerialCommunicator())[-1]
    assert found.train.images[last][-1].sum() == 7 * 49
    assert found.train.images[last][:-1].sum() == 0
    assert found.train.labels[rows - 1] == 1
    drawn = drawn_rows(np.random.default_rng(0), rows, 50)
    assert drawn.max() > 2**25
    assert found.train.images[drawn].shape == (50, 1, 7, 7)


def sealed(path):
    """Give a file of HDF5 the checksum of its content: nothing but its sizes can betray it."""
    with path.open("r+b") as file:
        file.write(seal_of(path, MAGIC))


@pytest.mark.parametrize("rows", [10**15, 2**62 // 49])
def test_a_header_that_claims_any_number_of_rows_costs_no_memory(tmp_path, rows):
    """In a converted file, the user's own, and IDX: refused in a line, and no array of the claimed size is made."""
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=SEAL_BYTES) as file:
        file.attrs["class_names"] = ["a", "b"]
        for part in ("train", "test"):
            for name, shape, dtype in (("images", (1, 7, 7), "u1"), ("labels", (), "i8"), ("numbers", (), "i8")):
                file.create_dataset(f"{part}/{name}", (rows, *shape), dtype, chunks=(100, *shape))
    sealed(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("images", (rows, 7, 7), "u1", chunks=(100, 7, 7))
        file.create_dataset("labels", (rows,), "i8", chunks=(100,))
    header = b"\0\0\x08\3" + b"".join(n.to_bytes(4, "big") for n in (2**32 - 1, 2**16, 2**16))
    (tmp_path / "idx").write_bytes(header + bytes(100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (
        lambda: read_converted(tmp_path / "a.h5"),
        lambda: load_dataset(str(tmp_path / "b.h5")),
        lambda: open_source(tmp_path / "idx", tmp_path / "idx"),
    ):
        with pytest.raises(DataError) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
