"""A queue of independent tasks over all ranks and their threads, handed out as ranks become free.

The main thread of every rank only communicates: rank 0's hands out task numbers and collects results, the others fetch
and return.  Worker threads compute, on rank 0 as well.  While many tasks are left, a rank holds one more than it has
threads, so that short tasks do not wait for the next message; near the end it holds none in reserve, so that no rank
keeps work that others could do.

A task may be handed out once more, to another rank, and a run may be paused between two messages: then nobody waits for
tasks that have begun.
"""

import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar, cast

from varpro.distributed.communicator import Communicator
from varpro.distributed.pause import Paused
from varpro.distributed.threads import start_worker

Result = TypeVar("Result")

SHORTEST_NAP, LONGEST_NAP = 50e-6, 50e-3
"""Seconds between two checks for messages, longer while nothing happens.  A local result ends a nap at once.  (With at
most 10 ms the checks took 1.6 % of a busy core; a rank has a task in reserve, so that it does not wait meanwhile.)"""
LONGER = 1.25
"""The growth of naps: each is then about a fifth of the time for which nothing has happened."""

NOBODY = -1


class _Order(Enum):
    FINISHED = auto()
    FAILED = auto()
    PAUSING = auto()
    """From a rank that has been told to pause: its last message."""


@dataclass(frozen=True, slots=True)
class _Pause:
    """From any rank to rank 0, and from there to all: end now, with these words."""

    words: str


@dataclass(frozen=True, slots=True)
class _Done(Generic[Result]):
    index: int
    result: Result | None = None
    error: BaseException | None = None


class _Crew(Generic[Result]):
    """The worker threads of one rank."""

    def __init__(self, work: Callable[[int], Result], threads: int) -> None:
        self._work = work
        self._tasks: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[_Done[Result]] = queue.SimpleQueue()
        self._nap = SHORTEST_NAP
        self._threads = threads
        self._dismissed = False
        self.idle: list[float] = []
        """Seconds that a thread waited for each task."""
        for _ in range(threads):
            start_worker(self._compute)

    def _compute(self) -> None:
        while True:
            clock = time.perf_counter()
            index = self._tasks.get()
            if index is None or self._dismissed:
                return
            self.idle.append(time.perf_counter() - clock)
            try:
                self._done.put(_Done(index, result=self._work(index)))
            except BaseException as error:  # passed to the main thread, which raises it
                self._done.put(_Done(index, error=error))

    def submit(self, index: int) -> None:
        self._tasks.put(index)

    def next_done(self, *, quiet: bool) -> _Done[Result] | None:
        """The next finished task, or None after a nap, which is longer while it is `quiet`.  Raises the error of a
        task."""
        self._nap = min(LONGER * self._nap, LONGEST_NAP) if quiet else SHORTEST_NAP
        try:
            done = self._done.get(timeout=self._nap)
        except queue.Empty:
            return None
        if done.error is not None:
            raise done.error
        return done

    def dismiss(self) -> None:
        """Let the threads end after their current task."""
        self._dismissed = True
        for _ in range(self._threads):
            self._tasks.put(None)


def run_tasks(
    comm: Communicator,
    n_tasks: int,
    work: Callable[[int], Result],
    *,
    threads: int = 1,
    on_result: Callable[[int, int, Result], int | None] | None = None,
    pause: Callable[[], str] | None = None,
) -> list[Result] | None:
    """Results of work(0), ..., work(n_tasks - 1), each computed once, on any rank and thread.  Collective.

    work : called on worker threads, up to `threads` at a time on this rank; returns something that can be pickled.
    on_result : called with (index, rank that computed it, result) on rank 0's main thread, in order of arrival.  If it
    returns a number, work(number) is computed in its place, on another rank where there is one.
    pause : asked on every rank; words, if the run is to end now: Paused is then raised on every rank.
    Returns the results by index on rank 0, None elsewhere.  An error in `work` is raised at once on the rank where it
    occurred; the other ranks then wait for that rank to end the run (RunStopped).
    """
    if n_tasks < 0 or threads < 1:
        raise ValueError(f"run_tasks needs n_tasks >= 0 and threads >= 1, got {n_tasks} and {threads}")
    crew_sizes = comm.allgather(threads)
    crew, clock = _Crew(work, min(threads, n_tasks)), time.thread_time()
    elsewhere = _Timed(on_result)
    try:
        if comm.rank == 0:
            return _Server(comm, n_tasks, crew, crew_sizes, elsewhere, pause).run()
        _assist(comm, crew, pause)
        return None
    finally:
        crew.dismiss()
        comm.traffic.idle_seconds += sum(crew.idle)
        comm.traffic.queue_seconds += time.thread_time() - clock - elsewhere.seconds


class _Timed(Generic[Result]):
    """on_result, and the processor time that it takes: keeping a result is no scheduling."""

    def __init__(self, on_result: Callable[[int, int, Result], int | None] | None) -> None:
        self.on_result, self.seconds = on_result, 0.0

    def __call__(self, index: int, rank: int, result: Result) -> int | None:
        if self.on_result is None:
            return None
        clock = time.thread_time()
        try:
            return self.on_result(index, rank, result)
        finally:
            self.seconds += time.thread_time() - clock


class _Server(Generic[Result]):
    """Rank 0's main thread: which rank holds how many tasks, and what has come back."""

    def __init__(
        self,
        comm: Communicator,
        n_tasks: int,
        crew: _Crew[Result],
        crew_sizes: list[int],
        on_result: Callable[[int, int, Result], int | None],
        pause: Callable[[], str] | None,
    ) -> None:
        self.comm, self.n_tasks, self.crew, self.crew_sizes, self.on_result = comm, n_tasks, crew, crew_sizes, on_result
        self.pause = pause
        self.waiting = deque((index, NOBODY) for index in range(n_tasks))
        """Tasks to hand out, each with a rank that should not get it."""
        self.places = {index: index for index in range(n_tasks)}
        """Which result each task gives: its own, or that of the task it replaces."""
        self.held = [0] * comm.size
        self.results: dict[int, Result] = {}

    def run(self) -> list[Result]:
        try:
            while len(self.results) < self.n_tasks:
                self._end_if_asked()
                self._hand_out()
                self._collect()
        except Paused as paused:
            self._tell_all(_Pause(paused.words))
            self._take_last_results()
            raise
        except BaseException:
            self._tell_all(_Order.FAILED)
            raise
        self._tell_all(_Order.FINISHED)
        return [self.results[index] for index in range(self.n_tasks)]

    def _end_if_asked(self) -> None:
        words = self.pause() if self.pause is not None else ""
        if words:
            raise Paused(words)

    def _hand_out(self) -> None:
        while self.waiting:
            task, avoided = self.waiting[0]
            spare = 1 if len(self.waiting) > 2 * sum(self.crew_sizes) else 0
            room = [size + spare - held for size, held in zip(self.crew_sizes, self.held, strict=True)]
            if self.comm.size > 1 and avoided != NOBODY:
                room[avoided] = 0
            rank = max(range(self.comm.size), key=room.__getitem__)
            if room[rank] <= 0:
                return
            self.waiting.popleft()
            if rank == 0:
                self.crew.submit(task)
            else:
                self.comm.post(task, rank)
            self.held[rank] += 1

    def _collect(self) -> None:
        message = self.comm.poll()
        if message is not None:
            source, content = message
            if content is _Order.FAILED:
                self._tell_all(_Order.FAILED)
                self.comm.barrier()  # meets the failed rank, which ends the run
            if isinstance(content, _Pause):
                raise Paused(content.words)
            self._accept(source, content)
        done = self.crew.next_done(quiet=message is None)
        if done is not None:
            self._accept(0, done)

    def _take_last_results(self) -> None:
        """Accept what was on its way; messages of a rank arrive in order, so its last one tells that nothing is."""
        pausing = 1
        while pausing < self.comm.size:
            message = self.comm.poll()
            if message is None:
                time.sleep(SHORTEST_NAP)
            elif message[1] is _Order.PAUSING:
                pausing += 1
            elif isinstance(message[1], _Done):
                self._accept(*message)
        while (done := self.crew.next_done(quiet=False)) is not None:
            self._accept(0, done)

    def _accept(self, rank: int, done: _Done[Result]) -> None:
        self.held[rank] -= 1
        result = cast(Result, done.result)  # not an error: `next_done` would have raised it
        place = self.places[done.index]
        instead = self.on_result(place, rank, result)
        if instead is None:
            self.results[place] = result
        else:
            self.places[instead] = place
            self.waiting.append((instead, rank))

    def _tell_all(self, order: _Order | _Pause) -> None:
        for rank in range(1, self.comm.size):
            self.comm.post(order, rank)
        self.comm.flush()


def _assist(comm: Communicator, crew: _Crew[Result], pause: Callable[[], str] | None) -> None:
    """The main thread of any other rank, until rank 0 says that all is done."""
    told = False
    while True:
        message = comm.poll()
        order = None if message is None else message[1]
        if isinstance(order, int):
            crew.submit(order)
        elif isinstance(order, _Pause):
            comm.post(_Order.PAUSING, 0)
            while not comm.flush():
                time.sleep(SHORTEST_NAP)
            raise Paused(order.words)
        elif order is _Order.FINISHED:
            return
        elif order is _Order.FAILED:
            comm.barrier()  # meets the failed rank, which ends the run
        words = pause() if pause is not None and not told else ""
        if words:
            comm.post(_Pause(words), 0)
            told = True
        try:
            done = crew.next_done(quiet=message is None and comm.flush())
        except BaseException:
            comm.post(_Order.FAILED, 0)
            raise
        if done is not None:
            comm.post(done, 0)
