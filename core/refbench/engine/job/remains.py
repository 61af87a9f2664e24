"""What a job leaves in its folder, which it may have spoilt: nothing there is trusted, everything is bounded."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.engine.job.draft import ResultDraft
from refbench.engine.job.recorder import DRAFT_FILE
from refbench.engine.job.result import RESULT_FILE
from refbench.files.regular import is_plain, keep_plain, read_regular, remove

if TYPE_CHECKING:
    from pathlib import Path

REQUEST_FILE, LOG_FILE = "request.json", "log.txt"
DRAFT_LIMIT = 32 << 20
LOG_TAIL_LINES, LINE_LIMIT = 20, 1000
REASON_LIMIT = 2000
_MEMORY = re.compile(
    rb"^(\w+\.)*_?(ArrayMemoryError|MemoryError|OutOfMemoryError)\b|std::bad_alloc|Cannot allocate memory", re.MULTILINE
)


def tidied(folder: Path) -> ResultDraft:
    """Return the draft that a job left, and make its folder a plain one: no links, pipes, scratch, request, draft."""
    if folder.is_symlink() or not folder.is_dir():
        remove(folder)
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        folder.chmod(0o777 & ~_umask())
    draft = _read_draft(folder / DRAFT_FILE)
    for name in (DRAFT_FILE, f"{DRAFT_FILE}.partial", REQUEST_FILE, RESULT_FILE, LOG_FILE, "scratch"):
        remove(folder / name)
    keep_plain(folder)
    return draft


def _read_draft(path: Path) -> ResultDraft:
    """Return the draft; an empty one where there is none, one that says so where it is damaged."""
    try:
        path.lstat()
    except OSError:
        return ResultDraft()
    try:
        return ResultDraft.model_validate_json(read_regular(path, DRAFT_LIMIT))
    except (InputError, ValueError):
        return ResultDraft(is_damaged=True)


def missing_output(folder: Path, draft: ResultDraft) -> str | None:
    """Return the first output that the draft names and the folder does not hold as a file or folder of its own."""
    for name in draft.refined.outputs.values():
        if "/" in name or name in ("", ".", "..") or not is_plain(folder / name, folder=True):
            return name
    return None


def log_tail(log: bytes) -> list[str]:
    """Return the last lines, each bounded."""
    return [bounded(line, LINE_LIMIT) for line in log.decode(errors="replace").splitlines()[-LOG_TAIL_LINES:]]


def says_out_of_memory(log: bytes) -> bool:
    """Return whether the end of a log tells of memory that ran out, in the job or in a process that it started."""
    return _MEMORY.search(log[-16384:]) is not None


def bounded(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters: its head and its tail where it is longer."""
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
