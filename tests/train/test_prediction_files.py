"""The file of a prediction, in each of its kinds: what was predicted, under the names that a reader looks for."""

import csv

import h5py
import numpy as np
import pytest

from varpro.train.data.predictions import WRITERS

SCORES = np.array([[0.25, -1.5, 1 / 3], [2.0, 0.5, 0.125]])
P = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]])
NAMES, NUMBERS = np.array(["ape", "Öl", "cat"]), np.array([3, 8, 9])


def written(folder, kind, classes, probabilities):
    path = folder / f"p{kind}"
    WRITERS[kind](path, classes[[2, 0]], SCORES, classes, probabilities)
    return path


@pytest.mark.parametrize("classes", [NAMES, NUMBERS], ids=["text", "numbers"])
@pytest.mark.parametrize("probabilities", [None, P], ids=["scores", "and probabilities"])
def test_a_table_has_a_row_for_each_image_and_a_column_for_each_class(tmp_path, classes, probabilities):
    with written(tmp_path, ".csv", classes, probabilities).open(encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file))
    names = [f"score_{name}" for name in classes]
    whole = SCORES
    if probabilities is not None:
        names, whole = names + [f"probability_{name}" for name in classes], np.hstack([SCORES, P])
    assert head == ["index", "label", *names]
    assert [row[:2] for row in rows] == [["0", str(classes[2])], ["1", str(classes[0])]]
    np.testing.assert_allclose(np.array([row[2:] for row in rows], dtype=float), whole, rtol=1e-8)


@pytest.mark.parametrize("kind", [".npz", ".h5"])
@pytest.mark.parametrize("classes", [NAMES, NUMBERS], ids=["text", "numbers"])
@pytest.mark.parametrize("probabilities", [None, P], ids=["scores", "and probabilities"])
def test_arrays_come_back_as_they_were(tmp_path, kind, classes, probabilities):
    path = written(tmp_path, kind, classes, probabilities)
    if kind == ".npz":
        with np.load(path) as file:
            found = {name: file[name] for name in file}
    else:
        with h5py.File(path) as file:
            found = {name: file[name].asstr()[:] if file[name].dtype.kind == "O" else file[name][:] for name in file}
    assert set(found) == {"labels", "scores", "classes"} | (set() if probabilities is None else {"probabilities"})
    np.testing.assert_array_equal(found["scores"], SCORES)
    np.testing.assert_array_equal(found["labels"].astype(classes.dtype), classes[[2, 0]])
    np.testing.assert_array_equal(found["classes"].astype(classes.dtype), classes)
    if probabilities is not None:
        np.testing.assert_array_equal(found["probabilities"], P)
