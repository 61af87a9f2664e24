"""The command line for tests: in this process, or in one of its own where the process is the point.

``refbench`` and ``answer`` call ``refbench.cli.main.main`` here: no interpreter starts and nothing is imported twice.
``refbench run`` still starts the process of its job. What must be killed, limited or counted is started by ``start``.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from refbench.cli.main import DEBUG_VARIABLE, main
from refbench.files.gdal_path import TRUST_VARIABLE
from refbench.registry.loader import FILES_VARIABLE, NO_THIRD_PARTY_VARIABLE, STRICT_VARIABLE
from refbench.registry.registry import load_registry

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
SET_BY_THE_COMMAND = (TRUST_VARIABLE, FILES_VARIABLE, NO_THIRD_PARTY_VARIABLE, STRICT_VARIABLE, DEBUG_VARIABLE)
NOT_SHOWN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def command(*arguments):
    """The words that start it in a process of its own."""
    return [sys.executable, "-m", "refbench.cli.main", *map(str, arguments)]


def start(where, *arguments, environment=ONE_THREAD, **options):
    """Start it in a process of its own and return that; it heeds an interrupt, whatever started the tests."""
    # A shell's background processes ignore SIGINT, and so would what they start.
    return subprocess.Popen(
        command(*arguments), cwd=where, env=environment, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip


def refbench(where, *arguments, code=0, **variables):
    """Run in the folder ``where``, expect the exit code and no traceback, return what it prints."""
    done = answer(where, *arguments, **variables)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return said


def answer(where, *arguments, **variables):
    """Run in the folder ``where`` (None: here) with these environment variables.

    Return ``returncode``, ``stdout`` and ``stderr``, as ``subprocess.run`` does.
    """
    out, err = io.StringIO(), io.StringIO()
    with fresh_registry() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _warnings_shown():
        if where is not None:
            patch.chdir(where)
        for name, value in {"OMP_NUM_THREADS": "1", **variables}.items():
            patch.setenv(name, str(value))
        code = main([*map(str, arguments)])
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


@contextlib.contextmanager
def fresh_registry():
    """Plugins are loaded anew inside and forgotten afterwards, with what the command line left in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in SET_BY_THE_COMMAND:
            # Set first: what the command sets is then undone with it.
            patch.setenv(name, os.environ.get(name, ""))
        patch.setattr(sys, "path", [*sys.path])  # loading a plugin's file adds its folder
        load_registry.cache_clear()
        try:
            yield patch
        finally:
            _forget(os.environ[FILES_VARIABLE])
            load_registry.cache_clear()


def _forget(files):
    """Drop the modules of plugin files: the next test may bring another file of the same name."""
    for path in filter(None, files.split(os.pathsep)):
        module = sys.modules.get(Path(path).stem)
        if module is not None and getattr(module, "__file__", None) == str(Path(path).resolve()):
            del sys.modules[Path(path).stem]


@contextlib.contextmanager
def _warnings_shown():
    """Warnings go to stderr as in a process of its own: a test that reads stderr sees them."""

    def show(message, category, filename, lineno, file=None, line=None):
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    with warnings.catch_warnings():
        warnings.resetwarnings()
        for category in NOT_SHOWN:
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield
