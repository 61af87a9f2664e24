"""What no test may leave behind for the next one of its process."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is there: tests run beside each other

import pytest
import warm_jobs

from refbench.engine.job import process

SET_FOR_JOBS = {name: os.environ.get(name) for name in ("REFBENCH_MAX_PIXELS", "REFBENCH_VERBOSITY")}
"""Options that the command line hands to its jobs through the environment; run in one process, they would stay."""


def as_at_the_start():
    for name, value in SET_FOR_JOBS.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def options_end_with_their_test():
    as_at_the_start()
    yield
    as_at_the_start()


@pytest.fixture(autouse=True, scope="session")
def jobs_are_forked_from_a_warm_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_open", warm_jobs.open_warm)
        yield
