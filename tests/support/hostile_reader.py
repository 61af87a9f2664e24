"""Reads every file of a folder in a process of its own, and writes down what came of each; see test_hostile_files.py.

Usage: hostile_reader.py FOLDER, with files 0, 1, 2 ...; ``at`` names the one being read and ``outcomes.json`` the rest.
"""

import codecs
import json
import resource
import signal
import sys
import time
from pathlib import Path

import torch

from refbench.contracts.errors import InputError
from refbench.weights.checkpoint import read_checkpoint, read_module, read_pickle
from refbench.weights.module_state import read_module_state

SECONDS = 20
ROOM = 768 * 2**20
WATCHED = ("os.", "subprocess.", "import", "exec", "compile", "pickle.", "marshal.", "ctypes.", "socket.", "shutil.")


def outcome(read, path):
    """Return what reading gave: a type, the sentence of a refusal, or a fault."""
    try:
        return "value", type(read(path)).__name__
    except InputError as error:
        if isinstance(error.__cause__, MemoryError | RecursionError):
            return "fault", repr(error.__cause__)
        return "refusal", str(error)
    except BaseException as error:
        return "fault", repr(error)


def peak():
    """Return the most memory (bytes) that this process has held; ``ru_maxrss`` would count its parent's, too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main():
    folder = Path(sys.argv[1])
    files = sorted(folder.glob("[0-9]*"), key=lambda file: int(file.name))
    # Whatever torch and this package import when they first read something is imported before the watch begins.
    torch.save({"a": torch.nn.Parameter(torch.ones(2))}, folder / "first")
    (folder / "second").write_bytes(b"no pickle")
    for read in (read_checkpoint, read_module_state, read_pickle):
        outcome(read, folder / "first"), outcome(read, folder / "second")
    for codec in ("ascii", "latin1", "utf-8", "cp437", "raw_unicode_escape", "unicode_escape"):
        codecs.lookup(codec)  # Python's own, for names in archives and texts in pickles
    events, watching = [], [False]
    sys.addaudithook(lambda name, args: events.append(name) if watching[0] and name.startswith(WATCHED) else None)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    base = peak()
    before, outcomes = set(sys.modules), []
    for file in files:
        (folder / "at").write_text(file.name)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of CPU; then the process ends
        start = time.process_time()
        watching[0] = True
        found = [outcome(read, file) for read in (read_checkpoint, read_module, read_module_state, read_pickle)]
        watching[0] = False
        outcomes.append((file.name, found, time.process_time() - start, events[:]))
        events.clear()
    report = {"outcomes": outcomes, "imported": sorted(set(sys.modules) - before), "grown": peak() - base}
    (folder / "outcomes.json").write_text(json.dumps(report))


main()
