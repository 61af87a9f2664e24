"""The loop that hands tasks out: slots, losses, tasks that have to be alone."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refbench import InputError
from refbench.engine.sweeps.dispatch import Attempts, Verdict, dispatch, is_lost


class Clock:
    """Futures that end in the order of their time; ``get`` lets it pass. What ``dispatch`` takes for its queue."""

    def __init__(self, seconds):
        self.seconds, self.running, self.ended, self.now, self.most = seconds, [], [], 0, 0

    def start(self, task):
        future = Future()
        self.running.append((self.now + self.seconds(task), len(self.running), future, task))
        self.most = max(self.most, len(self.running))
        return future

    def put(self, future):
        self.ended.append(future)

    def get(self):
        while not self.ended:
            entry = min(self.running, key=lambda item: item[:2])
            self.running.remove(entry)
            self.now = entry[0]
            entry[2].set_result(entry[3])
        return self.ended.pop(0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), max_size=40),
    st.integers(1, 7),
    st.dictionaries(st.integers(0, 39), st.integers(1, 4), max_size=10),
    st.sets(st.integers(0, 39), max_size=5),
)
def test_every_task_is_settled_whatever_is_lost_and_slots_are_kept(seconds, slots, losses, lonely):
    clock, attempts, tried, settled = Clock(lambda task: seconds[task]), Attempts(3), {}, {}
    was_alone = set()

    def settle(task, future, others):
        tried[task] = tried.get(task, 0) + 1
        if tried[task] <= losses.get(task, 0) and attempts.again(task):
            return Verdict.AGAIN
        if task in lonely and task not in was_alone:
            was_alone.add(task)
            return Verdict.ALONE
        if task in was_alone:
            assert not others
        settled[task] = settled.get(task, 0) + 1
        return Verdict.DONE

    dispatch(range(len(seconds)), clock.start, settle, slots=lambda: slots, events=clock)
    assert settled == dict.fromkeys(range(len(seconds)), 1)
    assert clock.most <= slots
    # It is lost as often as it is, at most three times, and then runs once more where it had to be alone.
    for task, count in tried.items():
        assert count == min(losses.get(task, 0), 2) + 1 + (task in lonely)


def test_what_is_lost_comes_after_all_that_waits():
    order, lost = [], {1}

    def start(task):
        order.append(task)
        future = Future()
        future.set_result(None)
        return future

    def settle(task, future, others):
        if task in lost:
            lost.remove(task)
            return Verdict.AGAIN
        return Verdict.DONE

    dispatch([0, 1, 2, 3], start, settle, slots=lambda: 1)
    assert order == [0, 1, 2, 3, 1]


def test_real_threads_and_a_cluster_that_grows():
    seen, slots = [], iter([1, 1, *[8] * 1000])
    with ThreadPoolExecutor(8) as pool:
        dispatch(
            range(200),
            lambda task: None if task % 7 == 0 else pool.submit(lambda: task),
            lambda task, future, others: seen.append(future.result()) or Verdict.DONE,
            slots=lambda: next(slots),
        )
    assert sorted(seen) == [task for task in range(200) if task % 7]


def test_what_a_callback_raises_stops_the_loop():
    def settle(task, future, others):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), ThreadPoolExecutor(1) as pool:
        dispatch([1, 2], lambda task: pool.submit(int), settle, slots=lambda: 1)


def test_an_own_error_is_no_loss():
    futures = {"fine": Future(), "own": Future(), "lost": Future(), "cancelled": Future()}
    futures["fine"].set_result(1)
    futures["own"].set_exception(InputError("bad"))
    futures["lost"].set_exception(ConnectionError("gone"))
    futures["cancelled"].cancel()
    lost = {name for name, future in futures.items() if is_lost(future, InputError)}
    assert lost == {"lost", "cancelled"}
