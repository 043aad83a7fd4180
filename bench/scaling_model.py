"""How long a run takes on R ranks, from what one rank needs and what a message costs.

    T(R) = work * ceil(parts / R) / parts * load  +  serial * load  +  collectives * message(R, bytes)
    message(R, bytes) = 2 * 2 * ceil(log2 R) * latency + 2 (R - 1) / R * bytes / bandwidth

work, serial : seconds on one rank of what is divided over the ranks by `parts`, and of what every rank does.
load : ranks per core, where there are more ranks than cores; else 1.
A collective is a reduction and its broadcast, of half the data at a time (Rabenseifner), after an agreement of a few
bytes that costs the same latency once more.  Handing out tasks takes the first rank `handed` seconds a task; tasks
cannot be faster than that.
"""

from dataclasses import dataclass
from math import ceil, log2


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What connects the ranks."""

    latency: float
    """Seconds for the smallest message between two ranks."""
    bandwidth: float
    """Bytes per second of a large one."""
    cores: float = float("inf")
    """All cores there are."""

    def collective(self, ranks: int, size: float) -> float:
        """Seconds of a sum over ranks of `size` bytes."""
        if ranks == 1:
            return 0.0
        return 4 * ceil(log2(ranks)) * self.latency + 2 * (ranks - 1) / ranks * size / self.bandwidth


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase of a run, as one rank of one core would do it."""

    work: float
    """Seconds that are divided."""
    parts: int
    """The number of sub-networks or blocks of rows, which are not divided."""
    serial: float = 0.0
    """Seconds of what every rank does, or the others wait for."""
    collectives: tuple[tuple[float, float], ...] = ()
    """How many sums over ranks, and the bytes of each."""
    handed: float = 0.0
    """Seconds of the first rank for each part."""

    def seconds(self, ranks: int, machine: Machine) -> float:
        """The time on so many ranks."""
        load = max(1.0, ranks / machine.cores)
        divided = self.work * ceil(self.parts / ranks) / self.parts * load
        talk = sum(count * machine.collective(ranks, size) for count, size in self.collectives)
        return max(divided, self.parts * self.handed) + self.serial * load + talk


def gluing(*, work: float, cholesky: float, columns: int, blocks: int, ridges: int = 5) -> Phase:
    """One Gram matrix, whose candidates for the ridge are factored on different ranks, so that one is left to each."""
    share = 8.0 * columns**2
    return Phase(
        work=work + (ridges - 1) * cholesky,
        parts=blocks,
        serial=cholesky,
        collectives=((1, share), (3, 80.0 * columns)),
    )


def refinement(
    *, work: float, cholesky: float, columns: int, parameters: int, blocks: int, steps: int, products: int
) -> Phase:
    """Steps by conjugate gradients: a sum of all parameters for each product, a Gram matrix for each evaluation."""
    return Phase(
        work=work,
        parts=blocks,
        serial=steps * cholesky,
        collectives=((products + steps, 8.0 * parameters), (steps, 8.0 * columns**2)),
    )
