"""One small fault in one file."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """Bytes begin..end of a file become `text`."""

    path: str
    """Relative to the root of the repository"""
    operator: str
    line: int
    begin: int
    end: int
    text: str
    source: str
    """The source line, without its margin"""

    def applied(self, source: bytes) -> bytes:
        """The file with the fault in it."""
        return source[: self.begin] + self.text.encode() + source[self.end :]

    def becomes(self, source: bytes) -> str:
        """The changed lines in one, without margins."""
        begin = source.rfind(b"\n", 0, self.begin) + 1
        end = source.find(b"\n", self.end)
        changed = source[begin : self.begin] + self.text.encode() + source[self.end : end if end >= 0 else None]
        return " ".join(changed.decode().split())

    def write(self, root: Path) -> None:
        """Put the fault into the copy of the repository at root."""
        file = root / self.path
        file.write_bytes(self.applied(file.read_bytes()))
