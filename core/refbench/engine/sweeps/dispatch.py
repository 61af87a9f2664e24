"""Handing tasks to whoever runs them: as many at once as there are slots, lost ones once more, none forgotten.

Sweeps, runs by regions and ``benchmarks/scaling`` go through this one loop. A task costs the same however many are
under way: ended ones report through a queue, nobody looks at those that still run.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable
    from concurrent.futures import Future

T = TypeVar("T")

ATTEMPTS = 3
"""How often a task is handed out whose worker is lost, unless somebody says otherwise."""


class Verdict(Enum):
    """What becomes of a task whose future has ended."""

    DONE = auto()
    """It is settled, well or not."""
    AGAIN = auto()
    """It is handed out once more, after all that wait now: on another worker, most likely."""
    ALONE = auto()
    """It is handed out once more as soon as nothing else runs, and nothing else starts until it has ended."""


class Events(Protocol):
    """Where ended futures are put and taken from; ``queue.SimpleQueue`` is one."""

    def put(self, item: Any) -> None:  # noqa: ANN401  # a future
        """Take an ended future; called from any thread."""

    def get(self) -> Any:  # noqa: ANN401  # a future
        """Return the next one, waiting for it."""


class Attempts:
    """Counts how often tasks were lost; only lost ones take memory."""

    def __init__(self, limit: int = ATTEMPTS) -> None:
        self._limit = limit
        self._lost: dict[Hashable, int] = {}

    def again(self, task: Hashable) -> bool:
        """Count one loss of a task; return whether it may be handed out once more."""
        self._lost[task] = self._lost.get(task, 0) + 1
        return self._lost[task] < self._limit

    @property
    def losses(self) -> int:
        """How many attempts were lost in all."""
        return sum(self._lost.values())


class _Dispatcher(Generic[T]):
    """The loop of ``dispatch``: what waits, what is under way, what has to be alone."""

    def __init__(
        self,
        tasks: Iterable[T],
        start: Callable[[T], Future[Any] | None],
        settle: Callable[[T, Future[Any], Collection[T]], Verdict],
        slots: Callable[[], int],
        events: Events,
    ) -> None:
        self._waiting = deque(tasks)
        self._start, self._settle, self._slots, self._events = start, settle, slots, events
        self._under_way: dict[Future[Any], T] = {}
        self._alone: T | None = None
        self._in_quarantine: deque[T] = deque()

    def run(self) -> None:
        while self._waiting or self._in_quarantine or self._under_way:
            self._fill()
            if self._under_way:
                self._end(self._events.get())

    def _fill(self) -> None:
        """Start what may start now."""
        while self._alone is None and self._in_quarantine and not self._under_way:
            self._alone = self._in_quarantine.popleft()
            if not self._begin(self._alone):
                self._alone = None
        while self._waiting and not self._in_quarantine and self._alone is None:
            if self._under_way and len(self._under_way) >= self._slots():
                return
            self._begin(self._waiting.popleft())

    def _begin(self, task: T) -> bool:
        """Start one task; return whether it is under way."""
        if (future := self._start(task)) is None:
            return False
        self._under_way[future] = task
        future.add_done_callback(self._events.put)
        return True

    def _end(self, future: Future[Any]) -> None:
        """Settle the task of a future that has ended."""
        task = self._under_way.pop(future)
        was_alone, self._alone = task is self._alone, None
        verdict = self._settle(task, future, self._under_way.values())
        if verdict is Verdict.ALONE or (was_alone and verdict is Verdict.AGAIN):
            self._in_quarantine.append(task)
        elif verdict is Verdict.AGAIN:
            self._waiting.append(task)


def dispatch(
    tasks: Iterable[T],
    start: Callable[[T], Future[Any] | None],
    settle: Callable[[T, Future[Any], Collection[T]], Verdict],
    *,
    slots: Callable[[], int],
    events: Events | None = None,
) -> None:
    """Run tasks in their order, ``slots()`` at once, until every one is settled.

    Parameters
    ----------
    tasks
        What has to run.
    start
        Starts a task and returns its future; None where it is settled without running.
    settle
        Takes a task, its ended future and the tasks that are under way; says what becomes of it. Called in the thread
        of ``dispatch``, one at a time.
    slots
        How many may be under way; asked before each start, so that a cluster may grow. One always may.
    events
        What ended futures come through; None makes a queue. A simulation lets time pass in its ``get``.

    Raises
    ------
    BaseException
        Whatever ``start`` and ``settle`` raise; what is under way then is the caller's.
    """
    _Dispatcher(tasks, start, settle, slots, SimpleQueue() if events is None else events).run()


def is_lost(future: Future[Any], *own: type[BaseException]) -> bool:
    """Return whether a task's worker was lost: its future holds an error that is none of ``own``, the task's own."""
    if future.cancelled():
        return True
    error = future.exception()
    return error is not None and not isinstance(error, own)
