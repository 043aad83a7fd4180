"""varpro-bench: every kernel is checked before it is timed, and the figures follow from the counts."""

import json
import math

import numpy as np
import pytest

from varpro.cli import bench
from varpro.kernels.timing import Case, Peaks, WrongResult, measure

FIELDS = {"kernel", "name", "shape", "dtype", "median_s", "spread_s", "rate", "unit", "bound", "share_of_peak"}
PEAKS = Peaks(float64=10.0, float32=20.0, memory=5.0)


def a_case(result: np.ndarray, *, gflop: float = 1.0, gigabytes: float = 1.0, dtype: str = "float64") -> Case:
    return Case(
        kernel="stem",
        name="a case",
        shape={"N": 3},
        dtype=dtype,
        run=lambda: (result,),
        reference=lambda: (np.ones(3),),
        tolerance=1e-12,
        gflop=gflop,
        gigabytes=gigabytes,
    )


def test_all_kernels_agree_with_their_references_and_leave_records(tmp_path, capsys):
    path = tmp_path / "bench.json"
    assert bench.main(["--quick", "--json", str(path)]) == 0
    document = json.loads(path.read_text())
    assert {record["kernel"] for record in document["kernels"]} == set(bench.STEMS)
    for record in document["kernels"]:
        assert record.keys() >= FIELDS
        assert record["error"] <= record["tolerance"]
        assert 0 < record["fastest_s"] <= record["median_s"]
        assert record["share_of_peak"] > 0
    printed = capsys.readouterr().out
    assert all(record["name"] in printed for record in document["kernels"])


def test_words_choose_the_kernels(tmp_path):
    path = tmp_path / "bench.json"
    assert bench.main(["--quick", "gram", "--json", str(path)]) == 0
    assert {record["kernel"] for record in json.loads(path.read_text())["kernels"]} == {"gram"}


def test_a_wrong_kernel_is_not_timed_and_fails_the_program(monkeypatch, capsys):
    from varpro.kernels import gram

    right = gram.accumulate

    def slightly_wrong(phi, y, gram, cross):
        right(phi, y, gram, cross)
        cross[0, 0] += 1e-3 * abs(cross).max()

    monkeypatch.setattr(gram, "accumulate", slightly_wrong)
    assert bench.main(["--quick", "gram"]) == 1
    out, err = capsys.readouterr()
    assert "WRONG: gram" in err
    assert "off by 1.0e-03" in err
    assert "Phi^T Phi" not in out


@pytest.mark.parametrize("result", [np.full(3, 1.1), np.array([1, np.nan, 1]), np.ones(4)])
def test_wrong_values_shapes_and_nan_are_refused(result):
    with pytest.raises(WrongResult, match="stem, a case"):
        measure(a_case(result), PEAKS, seconds=0)


@pytest.mark.parametrize(
    ("gflop", "gigabytes", "dtype", "bound", "least"),
    [
        (2.0, 0.5, "float64", "arithmetic", 0.2),
        (2.0, 0.5, "float32", "arithmetic", 0.1),
        (0.1, 3.0, "float64", "memory", 0.6),
    ],
)
def test_the_share_is_the_least_time_over_the_median(gflop, gigabytes, dtype, bound, least):
    record = measure(a_case(np.ones(3), gflop=gflop, gigabytes=gigabytes, dtype=dtype), PEAKS, seconds=0)
    assert record.bound == bound
    assert math.isclose(record.share_of_peak * record.median_s, least)
    assert math.isclose(record.rate * record.median_s, gflop if bound == "arithmetic" else gigabytes)


def test_mistakes_in_the_arguments_are_one_line(tmp_path, capsys):
    assert bench.main(["scalarise"]) == 2
    assert "no kernel is called scalarise: there are scalarize" in capsys.readouterr().err
    assert bench.main(["--json", str(tmp_path / "no" / "bench.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
