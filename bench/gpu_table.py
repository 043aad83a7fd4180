"""The table of a GPU's results, in Markdown.

python bench/gpu_table.py FILE.json > FILE.md
"""

import json
import sys
from pathlib import Path
from typing import Any


def line(record: dict[str, Any]) -> str:
    """A row for a kernel."""
    head = f"{record['kernel']:18} {record['name']:28} {record['dtype']:8}"
    if "failed" in record:
        return f"{head} {record['failed']}"
    peers = "; ".join(
        f"{name} {p['times_slower']:.1f}x" if "times_slower" in p else f"{name} failed"
        for name, p in record.get("peers", {}).items()
    )
    share = f"{100 * record['share_of_floor']:5.0f} %" if "share_of_floor" in record else "       "
    return f"{head} {1e3 * record['median_s']:9.3f} ms  +-{1e3 * record['spread_s']:.3f}  {share}  {peers}".rstrip()


def training_line(name: str, run: dict[str, Any]) -> str:
    """A row for a training run."""
    if "failed" in run:
        return f"{name}: {run['failed']}"
    s = run["seconds"]
    return (
        f"{name}: sub-networks {s['subnetworks']:.3f} s, glue {s['glue']:.3f} s, refinement {s['refine']:.3f} s, "
        f"all {s['total']:.2f} s, test accuracy {100 * run['accuracy']:.2f} %"
    )


def table(content: dict[str, Any]) -> str:
    """What is committed beside the JSON."""
    rates = content.get("limits", {})
    lines = [f"# {content.get('device', {}).get('name', 'unknown device')}, {content.get('date', 'no date')}", ""]
    if rates:
        told = ", ".join(f"{rate:,.0f} in {name}" for name, rate in rates.items() if name != "copy")
        lines += [f"Copy {rates['copy']:,.0f} GB/s; matrix product in GFLOP/s: {told}. Share: of the floor by these."]
    lines += ["", "```", *(line(record) for record in content.get("kernels", {}).values())]
    lines += [training_line(name, run) for name, run in content.get("training", {}).items()]
    lines += ["```", "", "| step | exit code | seconds |", "|---|---|---|"]
    lines += [f"| {name} | {s['exit']} | {s['seconds']:.0f} |" for name, s in content.get("steps", {}).items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())), end="")
