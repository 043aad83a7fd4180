"""The mutation run itself: every fault is a valid program that differs in one place, and the sources stay untouched."""

import ast
import json
from pathlib import Path

import pytest

from tests.mutation import cpp_operators, python_operators
from tests.mutation.covering import Covering, Recorder
from tests.mutation.explained import Explained, read_explained
from tests.mutation.maps import Maps
from tests.mutation.mutant import Mutant
from tests.mutation.run import Verdict, all_mutants, main, sample, summary, table
from tests.mutation.sandbox import INVALID, KILLED, SURVIVED, Sandbox
from tests.mutation.targets import DEFAULT_PATHS, RULES, files, suite_of

ROOT = Path(__file__).resolve().parents[2]
PYTHON = '''"""Words 1 < 2."""

LIMIT: int = 3  # é: two bytes


def f(x, y, *, scale=2.0):
    if not x < y and x:
        raise ValueError(f"{x + 1} is too small")
    x += max(x, y)
    return g(x, y, scale=scale, copy=False), [LIMIT, y][0]
'''


def becomes(source, module=python_operators, path="it.py"):
    raw = source.encode()
    return {m.becomes(raw) for m in module.mutants(path, source)}


@pytest.mark.parametrize(
    "changed",
    [
        "LIMIT: int = 4 # é: two bytes",
        "def f(x, y, *, scale=4.0):",
        "if not (x <= y) and x:",
        "if not (x > y) and x:",
        "if x < y and x:",
        "if (not x < y or x):",
        "pass",
        "x -= max(x, y)",
        "x += min(x, y)",
        "return g(y, x, scale=scale, copy=False), [LIMIT, y][0]",
        "return g(x, y, copy=False), [LIMIT, y][0]",
        "return ([LIMIT, y][0], g(x, y, scale=scale, copy=False))",
        "return g(x, y, scale=scale, copy=False), [LIMIT, y][1]",
    ],
)
def test_each_kind_of_fault_is_made(changed):
    assert changed in becomes(PYTHON)


def test_words_annotations_and_arguments_that_save_time_are_left_alone():
    found = becomes(PYTHON)
    assert not any("Words" in line or "small" in line or "copy=True" in line for line in found)
    assert "x += max(y, x)" not in found
    assert "return g(x, y, scale=scale), [LIMIT, y][0]" not in found


@pytest.mark.parametrize("path", files(ROOT, ("varpro/losses",)))
def test_faults_of_python_are_programs_that_differ_in_one_place(path):
    raw = (ROOT / path).read_bytes()
    for mutant in python_operators.mutants(path, raw.decode())[::17]:
        changed = mutant.applied(raw)
        ast.parse(changed)
        assert changed != raw
        assert changed.startswith(raw[: mutant.begin])
        assert changed.endswith(raw[mutant.end :])


def test_faults_of_compiled_code_leave_comments_text_and_types_alone():
    line = 'x += v[2] * 3; /* 1 + 1 */ if (a < b && !c) s = "1 < 2";'
    found = becomes(f"#include <a>\n// a < b\nint f(std::vector<int> v) {{\n    {line}\n}}\n", cpp_operators, "it.cpp")
    for old, new in (("v[2]", "v[3]"), (" * ", " / "), ("+=", "-="), ("a < b", "a <= b"), ("&&", "||"), ("!c", "c")):
        assert line.replace(old, new) in found
    assert line.replace("x += v[2] * 3;", ";") in found
    assert not any("1 - 1" in f or '"1 <= 2"' in f or "vector<=" in f or "<b>" in f for f in found)


def test_a_sample_is_drawn_by_its_seed_and_kept_in_order():
    mutants = all_mutants(ROOT, ["varpro/losses"])
    first, again, other = sample(mutants, 40, 1), sample(mutants, 40, 1), sample(mutants, 40, 2)
    assert first == again != other
    assert len(set(first)) == 40
    assert first == sorted(first, key=lambda m: (m.path, m.begin, m.text))
    assert len(sample(mutants[:5], 40, 1)) == 5


def test_every_source_has_tests_that_are_there():
    for path in files(ROOT, DEFAULT_PATHS):
        assert suite_of(path) != ("tests",)
    for _, tests in RULES:
        assert all((ROOT / test).exists() for test in tests)
    with pytest.raises(ValueError, match="nowhere is not there"):
        files(ROOT, ("nowhere",))


def verdict(outcome, source="x = 1", becomes_="x = 2"):
    return Verdict(Mutant("a.py", "constant", 3, 0, 1, "2", source), outcome, becomes_, 1, 0.0)


def test_explained_survivors_do_not_count_and_are_told_apart():
    explained = Explained([{"path": "a.py", "source": "x = 1", "becomes": "x = 2", "why": "only the speed | really"}])
    found = [verdict(KILLED), verdict(SURVIVED), verdict(SURVIVED, "y = 1"), verdict(SURVIVED, becomes_="x = 3")]
    counted = summary(found, explained)
    assert counted["explained"] == 1
    assert counted["killed_share"] == pytest.approx(1 / 3)
    assert counted["killed_share_of_all"] == pytest.approx(1 / 4)
    rows = table(found[1:], explained).splitlines()[2:]
    assert [row.endswith("| ? |") for row in rows] == [False, True, True]
    assert "only the speed \\| really" in rows[0]


def test_no_explanation_has_outlived_its_line():
    kept = read_explained()
    assert kept.stale(ROOT) == []
    assert all(len(entry["why"]) > 20 for entry in kept.entries)
    gone = Explained([{"path": "setup.py", "source": "no such line", "why": ""}])
    assert gone.stale(ROOT) == ["setup.py: no such line"]


@pytest.fixture
def project(tmp_path):
    """A repository of one function and two tests, one of which never enters it."""
    import subprocess

    (tmp_path / "varpro").mkdir()
    (tmp_path / "varpro" / "__init__.py").write_text("")
    (tmp_path / "varpro" / "one.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "test_one.py").write_text(
        "from varpro.one import double\n\n"
        "def test_it():\n    assert double(3) == 6\n\n"
        "def test_other():\n    assert double\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_a_fault_is_killed_in_a_copy_and_the_sources_stay(project, tmp_path_factory):
    box = Sandbox(project, tmp_path_factory.mktemp("copy"))
    source = (project / "varpro" / "one.py").read_text()
    outcomes = {}
    for mutant in python_operators.mutants("varpro/one.py", source):
        outcomes[mutant.text] = box.try_mutant(mutant, ["test_one.py"], 60.0)
        assert (project / "varpro" / "one.py").read_text() == source
        assert (box.place / "varpro" / "one.py").read_text() == source
    assert outcomes == {"(2 / x)": KILLED, "3": KILLED}
    broken = Mutant("varpro/one.py", "constant", 2, 0, 3, "def def", "")
    assert box.try_mutant(broken, ["test_one.py"], 60.0) == INVALID
    assert box.test(["test_one.py"], 60.0)[0] == SURVIVED


def test_only_tests_that_enter_the_function_are_asked(project, tmp_path_factory):
    box = Sandbox(project, tmp_path_factory.mktemp("copy"))
    file = tmp_path_factory.mktemp("map") / "map.json"
    box.record(["test_one.py"], ["varpro/one.py"], file)
    source = (project / "varpro" / "one.py").read_text()
    assert Covering([file]).tests("varpro/one.py", source, 2) == ["test_one.py::test_it"]
    assert Covering([file], longest=0.0).tests("varpro/one.py", source, 2) == []


def test_a_test_that_fails_without_a_fault_is_not_asked(project, tmp_path_factory):
    (project / "test_one.py").write_text(
        "from varpro.one import double\n\n"
        "def test_it():\n    assert double(3) == 7\n\n"
        "def test_other():\n    assert double(1)\n"
    )
    box = Sandbox(project, tmp_path_factory.mktemp("copy"))
    file = tmp_path_factory.mktemp("map") / "map.json"
    box.record(["test_one.py"], ["varpro/one.py"], file)
    source = (project / "varpro" / "one.py").read_text()
    assert Covering([file]).tests("varpro/one.py", source, 2) == ["test_one.py::test_other"]


def test_a_map_is_kept_until_its_tests_or_a_source_change(project, tmp_path):
    (project / "tests").mkdir()
    for name in ("test_a.py", "test_b.py"):
        (project / "tests" / name).write_text("def test_it():\n    pass\n")
    recorded, suite = tmp_path / "recorded.json", ("tests", "test_one.py", "gone")
    met = {"tests/test_a.py::test_it": {"seconds": 1.0, "failed": False, "entered": [["varpro/one.py", 1]]},
           "test_one.py::test_it": {"seconds": 1.0, "failed": True, "entered": []}}  # fmt: skip
    recorded.write_text(json.dumps(met))
    maps = Maps(project, tmp_path / "maps")
    assert maps.missing(suite) == ["tests/test_a.py", "tests/test_b.py", "test_one.py"]
    assert maps.keep(recorded, maps.missing(suite)) == ["test_one.py::test_it"]
    assert maps.missing(suite) == []
    source = (project / "varpro" / "one.py").read_text()
    assert Covering(maps.of(suite)).tests("varpro/one.py", source, 2) == ["tests/test_a.py::test_it"]
    (project / "tests" / "test_b.py").write_text("def test_it():\n    assert True\n")
    assert Maps(project, tmp_path / "maps").missing(suite) == ["tests/test_b.py"]
    (project / "varpro" / "one.py").write_text(source + "\n")
    assert len(Maps(project, tmp_path / "maps").missing(suite)) == 3


def test_the_recorder_notes_what_was_entered_and_no_more():
    recorder = Recorder(ROOT, ["varpro/losses/batch.py"])
    assert recorder.met == {}
    assert list(recorder.names.values()) == ["varpro/losses/batch.py"]


def test_a_list_runs_nothing(capsys):
    assert main(["--paths", "varpro/losses/batch.py", "--count", "3", "--list"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert all(line.startswith("varpro/losses/batch.py:") and "  ->  " in line for line in said)
