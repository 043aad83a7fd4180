"""Survivors that no test could kill, kept with the reason and recognised by the text of the line."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent / "explained.json"


@dataclass(frozen=True)
class Explained:
    """Entries: path, source (the line), why; `becomes` where only one fault of the line is meant."""

    entries: list[dict[str, str]]

    def why(self, verdict: Any) -> str | None:
        """The reason, or None where nobody has given one."""
        m = verdict.mutant
        for entry in self.entries:
            same = entry["path"] == m.path and entry["source"] == m.source
            if same and entry.get("becomes") in (None, verdict.becomes):
                return entry["why"]
        return None

    def stale(self, root: Path) -> list[str]:
        """Entries whose line is no longer in its file."""
        lines: dict[str, set[str]] = {}
        for entry in self.entries:
            file = root / entry["path"]
            if entry["path"] not in lines:
                text = file.read_text(encoding="utf-8") if file.exists() else ""
                lines[entry["path"]] = {line.strip() for line in text.splitlines()}
        return [f"{e['path']}: {e['source']}" for e in self.entries if e["source"] not in lines[e["path"]]]


def read_explained(file: Path = FILE) -> Explained:
    """The kept list."""
    return Explained(json.loads(file.read_text(encoding="utf-8")))
