"""Signs of life between machines, for what no launcher sees: a machine that hangs, or that the network has lost.

The end of a process is seen by its launcher.  A machine that answers no more is not: the others would wait for it for
ever.  So each rank on another machine than rank 0 keeps a connection to rank 0, over which both send a byte every
BEAT_SECONDS, from threads of their own.  Whoever has heard nothing for SILENT_SECONDS says so and ends its process, and
with it the run.  Where no connection can be made, nothing is different from before.
"""

import atexit
import fcntl
import logging
import os
import secrets
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from varpro.distributed.launch import end_launcher_later
from varpro.distributed.pause import PAUSED

BEAT_SECONDS = 1.0
SILENT_SECONDS = 30.0
SILENCE = "VARPRO_SILENCE"
"""The variable that sets another number of seconds, or 0 for no signs of life."""
CONNECT_SECONDS = 5.0
"""How long one address is tried."""
FORWARD_SECONDS = 0.25
"""Time for the launcher to pass on what was printed."""
LAUNCHER_SECONDS = 5.0
"""How long the launcher may take to end when rank 0 has."""
BEAT, GOODBYE, END = b".", b"x", b"!"
"""I live; I leave in good order; a machine is lost, end at once."""
TOKEN_BYTES = 16
_HELLO = struct.Struct(f"<{TOKEN_BYTES}si236s")
"""Token, rank, name of the machine."""
_SIOCGIFADDR = 0x8915
"""Linux's request for the address of a network interface."""

logger = logging.getLogger("varpro")


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where rank 0 listens: its name and addresses, and a word that only the ranks of this run know."""

    host: str
    addresses: tuple[str, ...]
    port: int
    token: bytes


@dataclass(slots=True)
class Peer:
    """One connection, and for how long nothing has come over it."""

    connection: socket.socket
    name: str
    silent: float = 0.0
    gone: bool = False
    """Whether the other side has closed without a goodbye."""


class Heartbeats:
    """The connections of this rank, minded by a thread."""

    def __init__(self, seconds: float, lost: Callable[[str, float], None]) -> None:
        """lost : called from the thread with the name of a rank of which nothing was heard for so many seconds; with
        an empty one if that was rank 0's finding."""
        self.seconds, self.lost = seconds, lost
        self.peers: list[Peer] = []
        self._selector, self._ended = selectors.DefaultSelector(), threading.Event()
        self._meeting: Meeting | None = None

    def listen(self) -> Meeting:
        """Wait for the other ranks, on any address of this machine."""
        listener = socket.create_server(("", 0), backlog=1024)
        listener.settimeout(BEAT_SECONDS)
        self._selector.register(listener, selectors.EVENT_READ)
        host = socket.gethostname()
        self._meeting = Meeting(host, own_addresses(), listener.getsockname()[1], secrets.token_bytes(TOKEN_BYTES))
        threading.Thread(target=self._mind, name="varpro-signs-of-life", daemon=True).start()
        return self._meeting

    def join(self, meeting: Meeting, rank: int) -> None:
        """Connect to rank 0, in the background."""

        def connect() -> None:
            for address in (meeting.host, *meeting.addresses):
                with suppress(OSError):
                    connection = socket.create_connection((address, meeting.port), CONNECT_SECONDS)
                    connection.sendall(_HELLO.pack(meeting.token, rank, socket.gethostname().encode()))
                    self._add(Peer(connection, f"rank 0 on {meeting.host}"))
                    self._mind()
                    return
            logger.debug("no signs of life: %s cannot be reached", meeting.host)

        threading.Thread(target=connect, name="varpro-signs-of-life", daemon=True).start()

    def close(self) -> None:
        """Say goodbye: from now on silence means nothing."""
        self._ended.set()
        for peer in self.peers:
            with suppress(OSError):
                peer.connection.send(GOODBYE)

    def _add(self, peer: Peer) -> None:
        peer.connection.setblocking(False)
        self._selector.register(peer.connection, selectors.EVENT_READ, peer)
        self.peers.append(peer)

    def _mind(self) -> None:
        before = time.monotonic()
        while not self._ended.is_set():
            for key, _ in self._selector.select(BEAT_SECONDS):
                if key.data is None:
                    self._welcome(key.fileobj)  # type: ignore[arg-type]
                else:
                    self._hear(key.data)
            now = time.monotonic()
            passed = now - before
            if passed < BEAT_SECONDS:
                self._ended.wait(BEAT_SECONDS - passed)  # many peers: one round of beats for all that is read
            # A long time between two rounds was a pause of this process, in which it could hear nothing.
            counted, before = min(time.monotonic() - before, 2.0 * BEAT_SECONDS), time.monotonic()
            for peer in list(self.peers):
                self._beat(peer, counted)

    def _welcome(self, listener: socket.socket) -> None:
        assert self._meeting is not None
        with suppress(OSError):
            connection, _ = listener.accept()
            connection.settimeout(BEAT_SECONDS)  # a rank sends at once, and a stranger must not hold up the beats
            hello = connection.recv(_HELLO.size, socket.MSG_WAITALL)
            token, rank, host = _HELLO.unpack(hello.ljust(_HELLO.size, b"\0"))
            if token != self._meeting.token:
                connection.close()  # somebody else's
                return
            self._add(Peer(connection, f"rank {rank} on {host.rstrip(bytes(1)).decode(errors='replace')}"))

    def _hear(self, peer: Peer) -> None:
        try:
            heard = peer.connection.recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            heard = b""
        if END in heard:
            self.lost("", 0.0)
        if GOODBYE in heard:
            self._drop(peer)
        elif heard:
            peer.silent = 0.0
        elif not peer.gone:  # it has ended, or the connection broke: the launcher has the time of a silence to end us
            peer.gone = True
            self._selector.unregister(peer.connection)

    def _beat(self, peer: Peer, passed: float) -> None:
        peer.silent += passed
        with suppress(OSError):
            peer.connection.send(BEAT)
        if peer.silent > self.seconds and not self._ended.is_set():
            for other in self.peers:
                with suppress(OSError):
                    other.connection.send(END)
            self.lost(peer.name, self.seconds)
            self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        if not peer.gone:
            self._selector.unregister(peer.connection)
        self.peers.remove(peer)
        peer.connection.close()


def own_addresses() -> tuple[str, ...]:
    """The IPv4 addresses of this machine's network interfaces, without that of itself alone; empty if unknown."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an address, or a system that is not Linux
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                found.append(socket.inet_ntoa(answer[20:24]))
    return tuple(address for address in found if not address.startswith("127."))


def silent_seconds() -> float:
    """The silence after which a rank counts as lost; 0 = never."""
    try:
        return max(0.0, float(os.environ.get(SILENCE, SILENT_SECONDS)))
    except ValueError:
        return SILENT_SECONDS


def end_run(name: str, seconds: float) -> NoReturn:
    """Say who was lost, if rank 0 has not said it already, and end this process at once; MPI may not be called from
    here, and could wait for ever."""
    if name:
        sys.stderr.write(
            f"varpro: nothing was heard of {name} for {seconds:g} s: its machine or the network between is gone; the "
            "run ends, continue it with --resume\n"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    end_launcher_later(LAUNCHER_SECONDS)
    time.sleep(FORWARD_SECONDS)
    os._exit(PAUSED)


def begin_heartbeats(rank: int, tell: Callable[[Meeting | None], Meeting | None], *, away: bool) -> Heartbeats | None:
    """Signs of life for a run on several machines.  Collective.

    tell : the broadcast from rank 0.  away : whether this rank is on another machine than rank 0.
    """
    seconds = silent_seconds()
    beats = Heartbeats(seconds, end_run)
    meeting = None
    if rank == 0 and seconds:
        with suppress(OSError):
            meeting = beats.listen()
    meeting = tell(meeting)
    if meeting is None:
        return None
    if away:
        beats.join(meeting, rank)
    atexit.register(beats.close)
    return beats
