"""Which test enters which function of the package: found out once, so that only the tests that reach a fault are run.

A pytest plugin records every call into a traced file while a test runs, fixtures included.  Compiled code is not seen.
"""

import ast
import json
import math
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Generator, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest


class Recorder:
    """The plugin: `met` has, for each test, its seconds and the (file, first line) of the functions that it entered.

    A test that fails without any fault can tell nothing about one: it counts as entering none.
    """

    def __init__(self, root: Path, traced: Iterable[str]) -> None:
        self.names = {str(root / path): path for path in traced}
        self.met: dict[str, dict[str, Any]] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, None, None]:
        entered: set[tuple[str, int]] = set()
        names = self.names

        def trace(frame: FrameType, event: str, _: Any) -> None:
            path = names.get(frame.f_code.co_filename)
            if path is not None:
                entered.add((path, frame.f_code.co_firstlineno))

        clock = time.perf_counter()
        threading.settrace(trace)
        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        failed = item.nodeid in self.failed
        self.met[item.nodeid] = {
            "seconds": time.perf_counter() - clock, "failed": failed, "entered": [] if failed else sorted(entered)
        }  # fmt: skip

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(self.met), encoding="utf-8")


class Covering:
    """Maps, read backwards; without the tests that took more than `longest` seconds."""

    def __init__(self, files: Iterable[Path], longest: float = math.inf) -> None:
        every = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        self.met = {test: met for own in every for test, met in own.items() if met["seconds"] <= longest}
        self._by_function: dict[tuple[str, int], list[str]] = defaultdict(list)
        for test, found in self.met.items():
            for path, line in found["entered"]:
                self._by_function[path, line].append(test)

    def tests(self, path: str, source: str, line: int) -> list[str]:
        """Tests that enter the function around a line, quick ones first; outside of any, all that enter the file."""
        around = [lines for lines in _functions(source) if lines[0] <= line <= lines[1]]
        if around:
            found = self._by_function[path, max(around)[0]]
        else:
            found = sorted({test for (where, _), tests in self._by_function.items() if where == path for test in tests})
        return _kinds_in_turn(found, {test: self.met[test]["seconds"] for test in found})


def _functions(source: str) -> list[tuple[int, int]]:
    """First line, decorators included as in a code object, and last line of every function."""
    return [
        (min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno or node.lineno)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    ]


def _kinds_in_turn(tests: list[str], seconds: dict[str, float]) -> list[str]:
    """Of every test function one set of parameters, then of every one a second, ...: the quick ones first."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests, key=lambda name: seconds[name]):
        kinds[test.split("[")[0]].append(test)
    places = [(place, seconds[test], test) for own in kinds.values() for place, test in enumerate(own)]
    return [test for _, _, test in sorted(places)]
