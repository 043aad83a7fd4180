"""Maps of which test enters which function, one for each file of tests, kept for later runs.

A map is found again by a digest of its tests and of everything in the package, so that one that no longer holds is
recorded anew: after a change of the tests, only those of the files that were changed.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path


class Maps:
    """Maps of the tests of a repository at `root`, in `folder`; files of tests are as they were when first asked for,
    so that they may be changed during a run."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        folder.mkdir(parents=True, exist_ok=True)
        sources = hashlib.sha256()
        for path in sorted((root / "varpro").rglob("*.py")):
            sources.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
        self._sources = sources.digest()
        self._places: dict[str, Path] = {}
        self._suites: dict[tuple[str, ...], list[str]] = {}

    def place(self, test_file: str) -> Path:
        """Where the map of one file of tests is, or will be."""
        if test_file not in self._places:
            digest = hashlib.sha256(self._sources + test_file.encode() + b"\0" + (self.root / test_file).read_bytes())
            self._places[test_file] = self.folder / f"{digest.hexdigest()[:24]}.json"
        return self._places[test_file]

    def missing(self, suite: Sequence[str]) -> list[str]:
        """Files of tests without a map."""
        return [file for file in self._files(suite) if not self.place(file).exists()]

    def keep(self, recorded: Path, suite: Sequence[str]) -> list[str]:
        """Split what one run recorded by file.  Returns the tests that failed."""
        met = json.loads(recorded.read_text(encoding="utf-8"))
        for file in suite:
            own = {test: found for test, found in met.items() if test.split("::")[0] == file}
            self.place(file).write_text(json.dumps(own), encoding="utf-8")
        return [test for test, found in met.items() if found["failed"]]

    def of(self, suite: Sequence[str]) -> list[Path]:
        """The maps of a suite, all of them recorded before."""
        return [self.place(file) for file in self._files(suite)]

    def _files(self, suite: Sequence[str]) -> list[str]:
        return self._suites.setdefault(tuple(suite), test_files(self.root, suite))


def test_files(root: Path, suite: Sequence[str]) -> list[str]:
    """Files of tests that a suite names or has in its folders."""
    found: list[Path] = []
    for entry in suite:
        place = root / entry
        found.extend([place] if place.is_file() else sorted(place.rglob("test_*.py")) if place.exists() else [])
    return [str(path.relative_to(root)) for path in dict.fromkeys(found)]
