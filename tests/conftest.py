"""What no test may leave behind for the next one of its process."""

import os

import pytest

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
