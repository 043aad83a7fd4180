"""What a GPU has answered so far, in one JSON file that is written anew with every answer.

    python bench/gpu_results.py known FILE STEP                       prints its exit code if the step has ended
    python bench/gpu_results.py ended FILE STEP CODE SECONDS LOG      records its end, with the last lines of LOG

A step that was cut off (exit codes 124 and 137) has not ended: the next call goes on with it.
"""

import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

CUT_OFF = (124, 137)
LINES = 25


class Results:
    """Sections of records by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def known(self, section: str, name: str) -> bool:
        return name in self.content.get(section, {})

    def put(self, section: str, name: str, record: Any) -> None:
        """Add a record, and write the file in one step: it is whole whenever the run may end."""
        self.content["date"] = datetime.date.today().isoformat()
        self.content.setdefault(section, {})[name] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.content, indent=1) + "\n")
        os.replace(new, self.path)


def ended(results: Results, step: str, code: int, seconds: float, log: Path) -> None:
    last = log.read_text(errors="replace").splitlines()[-LINES:] if log.exists() else []
    results.put("steps", step, {"exit": code, "seconds": seconds, "last_lines": last})


def main() -> int:
    task, path, step, *rest = sys.argv[1:]
    results = Results(Path(path))
    if task == "known":
        code = results.content.get("steps", {}).get(step, {"exit": CUT_OFF[0]})["exit"]
        print("" if code in CUT_OFF else code)
        return 0
    ended(results, step, int(rest[0]), float(rest[1]), Path(rest[2]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
