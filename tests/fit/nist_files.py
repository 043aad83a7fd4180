"""NIST's own .dat files, and the kept form of what they say: tests/fit/nist_data/NAME.json.

    python -m tests.fit.nist_files DIR     # rewrites the kept files from DIR/Misra1a.dat, ...

tests/fit/nist_data/README.md describes the kept form and names the source.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parent / "nist_data"
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
Facts = dict[str, Any]


def read_dat(path: Path) -> Facts:
    """The facts of one of NIST's files, with the keys of the kept form; ValueError if it is none of them."""
    text = path.read_text(encoding="ascii")
    table = [[float(x) for x in row] for row in re.findall(r"^ *b\d+ *=" + rf" +({NUMBER})" * 4, text, re.MULTILINE)]
    span = re.search(r"Data +\(lines +(\d+) +to +(\d+)\)", text)
    if span is None or not table:
        raise ValueError(f"{path.name} does not read as a NIST StRD nonlinear data set")

    def after(label: str) -> float:
        return float(re.findall(rf"{label}: +({NUMBER})", text)[0])

    first, second, certified, deviations = (list(column) for column in zip(*table, strict=True))
    cited = re.search(r"^Reference: +(.*?)\n *\n", text, re.MULTILINE | re.DOTALL)
    return {
        "reference": " ".join(cited[1].split()) if cited else "",
        "starts": [first, second],
        "certified": certified,
        "deviations": deviations,
        "rss": after("Residual Sum of Squares"),
        "rsd": after("Residual Standard Deviation"),
        "observations": [[float(x) for x in row.split()] for row in text.splitlines()[int(span[1]) - 1 : int(span[2])]],
    }


def read_kept(name: str) -> Facts:
    """The facts as this repository keeps them."""
    facts: Facts = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
    return facts


def written(facts: Facts) -> str:
    """The kept form: JSON, an observation a line."""
    head = {key: value for key, value in facts.items() if key != "observations"}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    rows = ",\n".join(f"  {json.dumps(row)}" for row in facts["observations"])
    return "{\n" + ",\n".join(lines) + ',\n"observations": [\n' + rows + "\n]\n}\n"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Rewrite tests/fit/nist_data from NIST's own files.")
    parser.add_argument("folder", type=Path, help="the folder that holds Misra1a.dat, ...")
    folder = parser.parse_args(argv).folder
    found = sorted(folder.glob("*.dat"))
    if not found:
        parser.error(f"no .dat files in {folder}: name the folder that holds Misra1a.dat, ...")
    for path in found:
        (KEPT / f"{path.stem}.json").write_text(written(read_dat(path)), encoding="utf-8")


if __name__ == "__main__":
    main()
