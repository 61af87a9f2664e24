"""Runs the command line in a process of its own, on one thread."""

import os
import subprocess
import sys

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*arguments):
    return [sys.executable, "-m", "refbench.cli.main", *map(str, arguments)]


def refbench(where, *arguments, code=0):
    """Return what it prints; ``where`` is the working folder."""
    run = subprocess.run(
        command(*arguments), cwd=where, env=ONE_THREAD, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == code, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    return run.stdout + run.stderr
