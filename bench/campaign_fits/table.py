"""Counts of a campaign, by family and by option."""

from collections import Counter
from dataclasses import dataclass, field

from campaign_fits.judge import KINDS, Case


@dataclass
class Record:
    """What is kept of a problem."""

    index: int
    family: str
    options: list[str]
    kind: str
    cause: str
    units: str
    data_set: int
    detail: str
    told: bool
    elsewhere_right: bool
    """in the other system of units the same data set is right"""
    seconds: float

    @classmethod
    def of(cls, case: Case, seconds: float) -> "Record":
        units, b, verdict = case.worst
        others = [row[b].kind for name, row in case.verdicts.items() if name != units]
        p = case.problem
        return cls(
            p.index, p.family.name, p.options.names(), verdict.kind, verdict.cause, units, b, verdict.detail,
            verdict.told, "right" in others, seconds,
        )  # fmt: skip


@dataclass
class Counts:
    """How many problems ended how."""

    total: Counter[str] = field(default_factory=Counter)
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    families: dict[str, Counter[str]] = field(default_factory=dict)
    options: dict[str, Counter[str]] = field(default_factory=dict)
    told: int = 0

    def add(self, record: Record) -> None:
        self.total[record.kind] += 1
        self.causes[record.kind, record.cause] += 1
        self.families.setdefault(record.family, Counter())[record.kind] += 1
        for name in record.options:
            self.options.setdefault(name, Counter())[record.kind] += 1
        self.told += record.told and record.kind == "local"

    @property
    def count(self) -> int:
        return sum(self.total.values())

    def text(self) -> str:
        """Tables to print."""
        lines = ["", f"{'':34s}" + "".join(f"{kind:>12s}" for kind in KINDS) + f"{'all':>8s}"]
        for title, table in (("family", self.families), ("option", self.options)):
            lines.append(f"by {title}")
            lines += [_line(name, table[name]) for name in sorted(table)]
        lines += ["", _line("all", self.total), ""]
        for (kind, cause), n in sorted(self.causes.items(), key=lambda item: (KINDS.index(item[0][0]), -item[1])):
            if kind != "right":
                lines.append(f"  {n:6d}  {kind}: {cause}")
        untold = self.total["local"] - self.told
        lines.append(f"\nlocal minima: {self.told} say that other starts were not tried, {untold} do not")
        return "\n".join(lines)


def _line(name: str, row: Counter[str]) -> str:
    return f"  {name:32s}" + "".join(f"{row[kind] or '':>12}" for kind in KINDS) + f"{sum(row.values()):8d}"
