"""Arrays, names and comments as C99 writes them."""

import re

import numpy as np

from varpro.arrays import Array

LINE = 110
"""The longest line of numbers."""
TYPES = {"int8": "signed char", "uint16": "unsigned short", "float32": "float"}
KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """auto break case char const continue default do double else enum extern float for goto if inline int long main
        register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while""",
    )
)
"""Names that a function cannot have."""


class Arrays:
    """The constant arrays of a file, and the bytes that they take."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bytes = 0

    def add(self, name: str, values: Array) -> None:
        """An array of int8, uint16, or of floats as float, row by row."""
        flat = values.ravel() if values.dtype in (np.int8, np.uint16) else values.ravel().astype(np.float32)
        self.bytes += flat.nbytes
        body = wrapped([str(v) if flat.dtype.kind in "iu" else literal(float(v)) for v in flat.tolist()])
        self.lines.append(f"static const {TYPES[flat.dtype.name]} {name}[{flat.size}] = {{\n{body}}};\n")


def wrapped(numbers: list[str]) -> str:
    """Numbers with commas, in lines."""
    lines, line = [], "   "
    for number in numbers:
        if len(line) + len(number) + 2 > LINE:
            lines.append(line)
            line = "   "
        line += f" {number},"
    return "\n".join([*lines, line]) + "\n"


def literal(value: float) -> str:
    """A float of single precision, exactly."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def identifier(stem: str) -> str:
    """A name for C from that of a file."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_") or "model"
    return f"model_{name}" if name[0].isdigit() or name in KEYWORDS else name


def quoted(text: str) -> str:
    """A string of C; bytes beyond ASCII, quotes and question marks (trigraphs) by their number."""
    plain = set(b" _-+.,abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def comment(text: str) -> str:
    """Text that may stand in a comment."""
    return re.sub(r"[^A-Za-z0-9 _.,:;/()+^=-]", "_", text).replace("*/", "__").replace("/*", "__")
