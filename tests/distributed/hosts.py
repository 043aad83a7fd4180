"""Several hosts on one machine: network namespaces on a bridge, each with a name of its own.

Any of them can be cut off.  Needs root and `ip`.  MPI's launcher reaches them through a stand-in for ssh.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSH = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
number=${{1##*.}}; shift
exec ip netns exec {prefix}h$number unshare --uts bash -c "hostname host$number; exec $*"
"""


@dataclass(frozen=True)
class Hosts:
    """host1, host2, ... at 10.77.0.1, 10.77.0.2, ..."""

    count: int
    prefix: str
    ssh: Path
    """What stands in for ssh."""

    def inside(self, number: int, *command: str | Path) -> list[str]:
        """The command that runs another on a host."""
        return [str(self.ssh), self.address(number), *map(str, command)]

    def address(self, number: int) -> str:
        """The address of a host."""
        return f"10.77.0.{number}"

    @property
    def addresses(self) -> str:
        """All addresses, as mpirun takes them."""
        return ",".join(self.address(number) for number in range(1, self.count + 1))

    def cut_off(self, number: int) -> None:
        """Take a host's cable away."""
        _ip("link", "set", f"{self.prefix}v{number}", "down")


@contextmanager
def hosts(count: int, folder: Path) -> Iterator[Hosts | None]:
    """So many hosts, or None where the machine does not allow it."""
    prefix, ssh = f"vp{os.getpid() % 100000}", folder / "ssh"
    ssh.write_text(SSH.format(prefix=prefix))
    ssh.chmod(0o755)
    try:
        if os.geteuid() != 0 or shutil.which("ip") is None or not _made(prefix, count):
            yield None
        else:
            yield Hosts(count, prefix, ssh)
    finally:
        if shutil.which("ip") is not None:
            for number in range(1, count + 1):
                _ip("netns", "del", f"{prefix}h{number}", check=False)
            _ip("link", "del", f"{prefix}b", check=False)


def _made(prefix: str, count: int) -> bool:
    bridge = f"{prefix}b"
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("link", "set", bridge, "up")
        for number in range(1, count + 1):
            space, cable = f"{prefix}h{number}", f"{prefix}v{number}"
            _ip("netns", "add", space)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", cable, "master", bridge)
            _ip("link", "set", cable, "up")
            for words in (f"addr add 10.77.0.{number}/24 dev eth0", "link set eth0 up", "link set lo up"):
                _ip("-n", space, *words.split())
    except subprocess.CalledProcessError:
        return False
    return True


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
