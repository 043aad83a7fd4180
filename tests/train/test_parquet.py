"""Parquet files become the same data as the arrays that they were made of, whichever way they hold the pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from varpro.cli import data
from varpro.train.data import convert, parquet
from varpro.train.data.datasets import load_dataset

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

RNG = np.random.default_rng(7)
LABELS = np.arange(60) % 3
NAMES = np.array(["cat", "dog", "eel"])[LABELS]
GREY = RNG.integers(0, 256, (60, 1, 7, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (60, 3, 7, 5), dtype=np.uint8)


def encoded(image):
    content = io.BytesIO()
    Image.fromarray(np.moveaxis(image, 0, -1)).save(content, "PNG")
    return content.getvalue()


def columns_of(kind):
    """The columns of a table, its images (N, C, L, R), and options of the program."""
    if kind == "pixels":
        return {f"pixel{k}": GREY.reshape(60, -1)[:, k] for k in range(49)} | {"label": LABELS}, GREY, []
    if kind == "floats":
        return {"pixels": (GREY.reshape(60, -1) / np.float32(255)).tolist(), "label": NAMES}, GREY, []
    if kind == "nested":
        return {"image": COLOUR.tolist(), "name": NAMES, "id": LABELS}, COLOUR, ["--label-column", "name"]
    if kind == "fixed":
        flat = pa.FixedSizeListArray.from_arrays(pa.array(COLOUR.ravel()), 105)
        return {"x": flat, "class": pa.array(NAMES).dictionary_encode()}, COLOUR, ["--shape", "3x7x5"]
    return {"image": [{"bytes": encoded(i), "path": None} for i in COLOUR], "label": LABELS}, COLOUR, []


def write(path, columns, rows=slice(None), **options):
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    rows = range(60)[rows]
    pq.write_table(table.slice(rows.start, len(rows)), path, row_group_size=17, **options)


def converted(source, output, *options):
    return data.main(["convert", str(source), str(output), "--quiet", *options])


@pytest.mark.parametrize("kind", ["pixels", "floats", "nested", "fixed", "pictures"])
@pytest.mark.parametrize("files", [1, 2])
def test_every_image_arrives_once_with_its_label(tmp_path, monkeypatch, kind, files):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(parquet, "BATCH_BYTES", 5 * 8 * 49)  # several batches in a row group
    columns, images, options = columns_of(kind)
    (tmp_path / "set").mkdir()
    for number in range(files):
        rows = slice(60 * number // files, 60 * (number + 1) // files)
        write(tmp_path / "set" / f"{number}.parquet", columns, rows)
    source = tmp_path / "set" if files > 1 else tmp_path / "set" / "0.parquet"
    assert converted(source, tmp_path / "out.h5", *options) == 0
    found = load_dataset(str(tmp_path / "out.h5"))
    labels = LABELS.astype(str) if kind in ("pixels", "pictures") else NAMES
    numbers = np.random.default_rng(0).permutation(60)
    for part, rows in ((found.train, numbers[:50]), (found.test, numbers[50:])):
        np.testing.assert_array_equal(part.images, images[rows])
        assert [found.class_names[k] for k in part.labels] == labels[rows].tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "set"]


def test_each_row_group_is_read_once_even_if_the_conversion_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "BLOCK_BYTES", 500)
    columns, _, options = columns_of("nested")
    write(tmp_path / "a.parquet", columns)
    assert converted(tmp_path / "a.parquet", tmp_path / "whole.h5", *options) == 0
    read, batches = [], parquet.ParquetImages._batches

    def counted(self, path, number, rows=None):
        if rows is None:
            if len(read) == 2:
                raise SystemExit(9)
            read.append(number)
        return batches(self, path, number, rows)

    with monkeypatch.context() as patch:
        patch.setattr(parquet.ParquetImages, "_batches", counted)
        assert converted(tmp_path / "a.parquet", tmp_path / "out.h5", *options) == 9
        del read[:2]
        assert converted(tmp_path / "a.parquet", tmp_path / "out.h5", *options) == 0
    assert read == [2, 3]
    assert (tmp_path / "out.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_truncated_file_is_told_in_one_line(tmp_path, capsys):
    columns, *_ = columns_of("pixels")
    write(tmp_path / "a.parquet", columns)
    whole = (tmp_path / "a.parquet").read_bytes()
    for place in [0, 5, len(whole) - 1, len(whole) - 6, *RNG.integers(0, len(whole), 30)]:
        (tmp_path / "b.parquet").write_bytes(whole[:place])
        assert converted(tmp_path / "b.parquet", tmp_path / "out.h5", "--overwrite") == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_header_that_claims_many_rows_costs_no_memory(tmp_path, capsys):
    columns, *_ = columns_of("floats")
    write(tmp_path / "a.parquet", columns, use_dictionary=False, compression="none")
    content = (tmp_path / "a.parquet").read_bytes()
    footer = int.from_bytes(content[-8:-4], "little")
    claims = bytearray(content)
    # zigzag varint of 60 rows in the footer's file metadata: field 3, i64
    place = content.index(b"\x16\x78", len(content) - 8 - footer)
    claims[place : place + 2] = b"\x16\xfe\xff\xff\xff\xff\xff\x07"
    claims[-8:-4] = (footer + 6).to_bytes(4, "little")
    (tmp_path / "b.parquet").write_bytes(bytes(claims))
    assert pq.ParquetFile(tmp_path / "b.parquet").metadata.num_rows > 10**12
    assert converted(tmp_path / "b.parquet", tmp_path / "out.h5") == 2
    error = capsys.readouterr().err
    assert "rows and has 60" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"a": LABELS, "b": LABELS}, [], "has none of the columns label"),
        ({"a": LABELS, "label": LABELS}, [], "no column holds images"),
        ({"image": GREY[:, 0, :, :5].reshape(60, -1).tolist(), "label": LABELS}, [], "no squares"),
        ({"image": GREY.tolist(), "label": LABELS}, ["--shape", "6x6"], "are not 6 x 6"),
        ({"image": GREY.tolist(), "label": LABELS}, ["--shape", "6"], "rows x columns"),
        ({"image": [[1, 2, 3, 4]] * 59 + [[1, 2, 3]], "label": LABELS}, [], "unlike lengths"),
        ({"image": [[1, 2, 3, 256]] * 60, "label": LABELS}, [], "from 0 to 255"),
        ({"image": [[1, 2, 3, None]] * 60, "label": LABELS}, [], "pixels are missing"),
        ({"image": GREY.tolist(), "label": [None, *LABELS[1:].tolist()]}, [], "1 rows have no label"),
        ({"image": [b"nothing"] * 60, "label": LABELS}, [], "cannot be read as a picture"),
        ({"image": [[0.5, 2.0, 0.0, 0.0]] * 60, "label": LABELS}, [], "must lie in [0, 1]"),
    ],
)
def test_mistakes(tmp_path, capsys, columns, options, message):
    write(tmp_path / "a.parquet", columns)
    assert converted(tmp_path / "a.parquet", tmp_path / "out.h5", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_without_the_library_it_is_named(tmp_path, capsys, monkeypatch):
    write(tmp_path / "a.parquet", columns_of("floats")[0])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    assert converted(tmp_path / "a.parquet", tmp_path / "out.h5") == 2
    assert "pip install 'varpro[parquet]'" in capsys.readouterr().err
