"""A million tiles on a thousand workers, with failures, through the scheduler that refbench ships.

``python benchmarks/scaling/simulate.py`` prints the table of docs/scaling.md. Time and workers are simulated: which
task runs when, and what is tried again, is decided by ``refbench.engine.sweeps.dispatch`` (clusters) and
``refbench.engine.job.parts`` (job arrays) as in a real run.
"""

from __future__ import annotations

import argparse
import heapq
import math
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.engine.job.parts import assigned
from refbench.engine.sweeps.dispatch import Attempts, Verdict, dispatch, is_lost

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 20_261
COLD_S = 300.0
"""From the loss of a worker until its successor takes work."""
SPREAD = 0.5
"""Standard deviation of the logarithm of a task's time: the slowest of a million takes some ten times the median."""


class Fleet:
    """Workers in simulated time; also the queue that ``dispatch`` waits at: ``get`` lets the time pass.

    A worker lives for an exponentially distributed time of mean ``life_s``; what it holds at its end is lost. Tasks of
    ``poison`` kill every worker. ``durations`` float64 [tasks] are seconds.
    """

    def __init__(
        self,
        workers: int,
        durations: NDArray[np.float64],
        life_s: float,
        rng: np.random.Generator,
        poison: frozenset[int],
    ) -> None:
        self.durations, self.life_s, self.rng, self.poison = durations, life_s, rng, poison
        self.free = deque(range(workers))
        self.dies_at = [self._death(0.0) for _ in range(workers)]
        self.alive, self.now = workers, 0.0
        self.wasted_s, self.deaths = 0.0, 0
        self._heap: list[tuple[float, int, int, Future[None] | None]] = []
        self._number = 0
        self._ended: deque[Future[None]] = deque()

    def _death(self, now: float) -> float:
        return math.inf if math.isinf(self.life_s) else now + self.rng.exponential(self.life_s)

    def _push(self, when: float, worker: int, future: Future[None] | None) -> None:
        self._number += 1
        heapq.heappush(self._heap, (when, self._number, worker, future))

    def submit(self, task: int) -> Future[None]:
        """Give a task to a free worker; ``~worker`` in the heap means that it ends by the worker's death."""
        worker = self.free.popleft()
        if self.dies_at[worker] < self.now:  # it died idle, and its successor is as good: lives have no memory
            self.dies_at[worker] = self._death(self.now)
        end = self.now + float(self.durations[task])
        future: Future[None] = Future()
        if task in self.poison or self.dies_at[worker] < end:
            died = min(self.dies_at[worker], end)
            self.wasted_s += died - self.now
            self._push(died, ~worker, future)
        else:
            self._push(end, worker, future)
        return future

    def put(self, future: Future[None]) -> None:
        """Take an ended future."""
        self._ended.append(future)

    def get(self) -> Future[None]:
        """Let time pass until a future has ended; return it."""
        while not self._ended:
            self.now, _, worker, future = heapq.heappop(self._heap)
            if future is None:  # a successor is there
                self.alive += 1
                self.free.append(worker)
            elif worker < 0:
                self.deaths += 1
                self.alive -= 1
                self.dies_at[~worker] = self._death(self.now + COLD_S)
                self._push(self.now + COLD_S, ~worker, None)
                future.set_exception(ConnectionError("the worker died"))
            else:
                self.free.append(worker)
                future.set_result(None)
        return self._ended.popleft()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one scenario came to; hours are simulated, ``scheduler_s`` is CPU time of this process."""

    name: str
    hours: float
    busy: float
    deaths: int
    repeated: int
    wasted: float
    failed: int
    unsettled: int
    scheduler_s: float

    HEAD = (
        "| scenario | hours | workers busy | workers lost | tasks repeated | work lost | failed | unsettled | CPU s |"
    )

    def __str__(self) -> str:
        """Return the row of a table."""
        return (
            f"| {self.name} | {self.hours:.2f} | {100 * self.busy:.1f} % | {self.deaths:,} | {self.repeated:,} "
            f"| {100 * self.wasted:.2f} % | {self.failed} | {self.unsettled} | {self.scheduler_s:.1f} |"
        )


def cluster(
    name: str, durations: NDArray[np.float64], workers: int, life_s: float, poison: frozenset[int] = frozenset()
) -> Outcome:
    """Run all tasks on one cluster, handed out one by one as ``run_sweep`` and ``run_regions`` do."""
    began = time.process_time()
    fleet = Fleet(workers, durations, life_s, np.random.default_rng(SEED), poison)
    attempts, settled, failed = Attempts(), bytearray(len(durations)), 0

    def settle(task: int, future: Future[None], others: object) -> Verdict:
        nonlocal failed
        del others
        lost = is_lost(future)
        if lost and attempts.again(task):
            return Verdict.AGAIN
        failed += lost
        settled[task] += 1
        return Verdict.DONE

    dispatch(range(len(durations)), fleet.submit, settle, slots=lambda: fleet.alive, events=fleet)
    work, unsettled = float(durations.sum()), len(durations) - settled.count(1)
    return Outcome(
        name, fleet.now / 3600, work / (fleet.now * workers), fleet.deaths, attempts.losses - failed,
        fleet.wasted_s / work, failed, unsettled, time.process_time() - began,
    )  # fmt: skip


class ShardKilled(Exception):
    """The machine of a job array's element died: its dispatcher, too."""


def array(name: str, durations: NDArray[np.float64], shards: int, life_s: float) -> Outcome:
    """Run all tasks as a job array: each element one shard on one machine, run again by the queue where it died."""
    began = time.process_time()
    parts: list[list[int]] = [[] for _ in range(shards)]
    for task, part in enumerate(assigned([f"tile-{task:07d}" for task in range(len(durations))], shards)):
        parts[part].append(task)
    settled = bytearray(len(durations))
    ends, deaths, wasted = [], 0, 0.0
    for index, tasks in enumerate(parts):
        fleet = Fleet(1, durations, life_s, np.random.default_rng([SEED, index]), frozenset())

        def settle(task: int, future: Future[None], others: object) -> Verdict:
            del others
            if is_lost(future):
                raise ShardKilled
            settled[task] += 1
            return Verdict.DONE

        while waiting := [task for task in tasks if not settled[task]]:  # what a resumed shard finds
            try:
                dispatch(waiting, fleet.submit, settle, slots=lambda: 1, events=fleet)
            except ShardKilled:
                fleet.now, _, worker, _ = heapq.heappop(fleet._heap)  # the queue starts it again
                fleet.free.append(worker)
        ends.append(fleet.now)
        deaths, wasted = deaths + fleet.deaths, wasted + fleet.wasted_s
    work, unsettled = float(durations.sum()), len(durations) - settled.count(1)
    return Outcome(
        name, max(ends) / 3600, work / (max(ends) * shards), deaths, deaths, wasted / work, 0, unsettled,
        time.process_time() - began,
    )  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--task-s", type=float, default=60.0, help="mean seconds of a task")
    asked = parser.parse_args()
    rng = np.random.default_rng(SEED)
    durations = asked.task_s * rng.lognormal(-(SPREAD**2) / 2, SPREAD, asked.tasks)
    poison = frozenset(int(task) for task in rng.choice(asked.tasks, min(20, asked.tasks), replace=False))
    ideal = durations.sum() / asked.workers / 3600
    print(f"{asked.tasks:,} tasks of {asked.task_s:g} s on {asked.workers:,} workers; without any loss {ideal:.2f} h\n")
    print(Outcome.HEAD)
    print("|---|" + "---:|" * 8)
    hour = 3600.0
    for name, life in (("no failure", math.inf), ("workers live 100 h", 100 * hour), ("workers live 5 h", 5 * hour)):
        print(cluster(f"cluster, {name}", durations, asked.workers, life), flush=True)
    print(cluster("cluster, 5 h, 20 tiles kill", durations, asked.workers, 5 * hour, poison), flush=True)
    for name, life in (("no failure", math.inf), ("workers live 100 h", 100 * hour), ("workers live 5 h", 5 * hour)):
        print(array(f"job array, {name}", durations, asked.workers, life), flush=True)


if __name__ == "__main__":
    main()
