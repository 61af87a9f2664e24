"""Where a part of POSIX is missing, verbs that need it end in one sentence and the others work."""

import os
import subprocess
import sys

import pytest
from run_refbench import ONE_THREAD, refbench

from refbench.contracts.errors import UnsupportedError
from refbench.files.posix import PARTS, require_posix, try_lock

WITHOUT_LOCKS = "import sys; sys.modules |= {'fcntl': None, 'resource': None}\nfrom refbench.cli.main import main\n"


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(part, monkeypatch):
    monkeypatch.delattr(os, part)
    with pytest.raises(UnsupportedError, match=rf"A job needs os\.{part}, which .* lacks; use Linux or macOS"):
        require_posix("A job")


def test_nothing_is_missing_here(tmp_path):
    require_posix("A job")
    with (tmp_path / "lock").open("a") as first, (tmp_path / "lock").open("a") as second:
        assert try_lock(first.fileno()) and not try_lock(second.fileno())


def test_a_run_without_wait4_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "wait4")
    said = refbench(tmp_path, "run", "--method", "input", "--out", "out", code=3)
    assert "needs os.wait4" in said and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["methods"], 0, "resdepth"),
        (["info", "median"], 0, "size"),
        (["table", "--help"], 0, "Usage"),
        (["run", "--method", "input", "--out", "out"], 3, "A job needs fcntl"),
        (["bench", "tiny", "--out", "out"], 3, "A sweep needs fcntl"),
    ],
)
def test_without_the_modules_of_posix(arguments, code, words, tmp_path):
    """As on Windows, which has neither ``fcntl`` nor ``resource``."""
    program = f"{WITHOUT_LOCKS}sys.exit(main({arguments!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=ONE_THREAD, capture_output=True, text=True, check=False
    )
    assert done.returncode == code and words in done.stdout + done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())
