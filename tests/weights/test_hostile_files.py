"""Checkpoints of any bytes: no signal, nothing run, nothing imported, bounded memory and time."""

import collections
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
from hostile_files import Fuzzer  # it needs torch

MEMORY = 512 * 2**20
"""Bytes; the largest file has 300 kB, but some are free."""
READER = Path(__file__).parents[1] / "support" / "hostile_reader.py"


def read_in_a_process(folder, files):
    """Return the reader's outcomes of files; a process that dies is blamed on the file that it was reading."""
    for number, content in enumerate(files):
        (folder / str(number)).write_bytes(content)
    done = subprocess.run([sys.executable, READER, folder], capture_output=True, text=True, timeout=900, check=False)
    at = (folder / "at").read_text() if (folder / "at").exists() else "none"
    assert done.returncode == 0, f"file {at} of {folder} ended the reader ({done.returncode}): {done.stderr[-2000:]}"
    report = json.loads((folder / "outcomes.json").read_text())
    assert report["imported"] == []
    assert report["grown"] < MEMORY
    assert len(report["outcomes"]) == len(files)
    for name, found, _, events in report["outcomes"]:
        assert not [what for kind, what in found if kind == "fault"], f"file {name} of {folder}: {found}"
        assert events == [], f"file {name} of {folder} did {events}"
        for kind, what in found:
            assert kind == "value" or (str(folder / name) in what and "\n" not in what and len(what) < 600), what
    return report


def counts(report):
    return collections.Counter(kind for _, found, _, _ in report["outcomes"] for kind, _ in found)


def test_a_hundred_hostile_files_are_read_or_refused(tmp_path):
    fuzzer = Fuzzer(0)
    found = counts(read_in_a_process(tmp_path, [fuzzer.file(index) for index in range(110)]))
    # The fuzzer reaches both ends: files that are sound, and files that are not.
    assert found["value"] > 10 and found["refusal"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_thousands_of_hostile_files_are_read_or_refused(tmp_path, seed):
    fuzzer = Fuzzer(seed)
    found = counts(read_in_a_process(tmp_path, [fuzzer.file(index) for index in range(550)]))
    assert found["value"] > 50 and found["refusal"] > 500
