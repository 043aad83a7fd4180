"""The campaign of kills: it kills, compares and counts."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "bench" / "kills.py"


def test_a_run_that_is_killed_ends_the_same_and_is_counted(tmp_path):
    command = [sys.executable, SCRIPT, "--kills", "1", "--ranks", "1", "--seed", "3", "--json", tmp_path / "k.json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "k.json").read_text())
    assert {trial["outcome"] for trial in found["trials"]} == {"same"}
    struck = [kill for kill in found["kills"] if kill["moment"] != "too late"]
    assert struck
    assert f"{len(struck)} kills in {len(found['trials'])} runs" in ended.stdout
    assert "0 lost, 0 changed, 0 left over, 0 hang" in ended.stdout
