"""How much refbench tells: ``-v`` and ``-q`` set one variable, which the processes of jobs inherit."""

from __future__ import annotations

import os

VARIABLE = "REFBENCH_VERBOSITY"
"""-1 errors only, 0 as usual, 1 phases on the console, 2 and more debugging messages, too."""
LEVELS = {-1: "ERROR", 0: "WARNING", 1: "INFO"}


def verbosity() -> int:
    """Return the verbosity of this process; what is no number counts as 0."""
    text = os.environ.get(VARIABLE, "")
    return int(text) if text.lstrip("-").isdigit() else 0


def is_quiet() -> bool:
    """Return whether only errors are to be told."""
    return verbosity() < 0


def set_verbosity(level: int) -> None:
    """Set the verbosity of this process and of those that it starts, and send log messages to stderr."""
    import logging

    os.environ[VARIABLE] = str(level)
    logging.basicConfig(level=LEVELS.get(level, "DEBUG"), format="%(levelname)s %(name)s: %(message)s", force=True)
