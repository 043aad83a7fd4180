"""Which run a checkpoint belongs to: version, kind, config, data; any difference is told by name."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from varpro.arrays import Array
from varpro.train.checkpoint.files import Values, bytes_of

IGNORED = ("output",)
"""Keys of a config without an effect on the result."""
TOLD = 3
"""Differences that a message lists."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a run and its continuation have in common."""

    version: str
    config: Values
    data: str
    """SHA-256 of all images and labels."""
    ranks: int | None = None
    """The number of ranks, if the states depend on it."""

    @property
    def values(self) -> Values:
        """In the form of a file."""
        return {"version": self.version, "config": self.config, "data": self.data, "ranks": self.ranks}

    @property
    def digest(self) -> str:
        """A short name of the run."""
        config = {key: value for key, value in self.config.items() if key not in IGNORED}
        whole = json.dumps([self.version, config, self.data, self.ranks], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def differences(self, stored: Values) -> list[str]:
        """In words, what is different from the identity in a checkpoint."""
        found = []
        if stored.get("version") != self.version:
            found.append(f"varpro is {self.version} now and was {stored.get('version')}")
        now, then = flat(self.config), flat(stored.get("config") or {})
        for key in [*now, *(key for key in then if key not in now)]:
            if key not in IGNORED and now.get(key) != then.get(key):
                found.append(f"{key} is {_shown(now.get(key))} now and was {_shown(then.get(key))}")
        if stored.get("data") != self.data:
            found.append(f"the data have SHA-256 {self.data[:12]}... now and had {str(stored.get('data'))[:12]}...")
        if self.ranks is not None and stored.get("ranks") != self.ranks:
            found.append(f"there are {self.ranks} ranks now and were {stored.get('ranks')}")
        return found


def told(differences: list[str]) -> str:
    """Differences in one line."""
    more = len(differences) - TOLD
    return ", ".join(differences[:TOLD]) + (f", and {more} more" if more > 0 else "")


def flat(tree: Values, above: str = "") -> Values:
    """The values of nested mappings by their dotted keys."""
    found: Values = {}
    for key, value in tree.items():
        name = f"{above}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def _shown(value: object) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def checksum(*arrays: Array) -> str:
    """SHA-256 of arrays: their types, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(bytes_of(np.asarray(array, order="C")))
    return digest.hexdigest()
