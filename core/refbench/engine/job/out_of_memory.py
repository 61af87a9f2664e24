"""Telling a process that the kernel killed for memory from one that somebody killed."""

from __future__ import annotations

import os
from pathlib import Path

_VMSTAT = Path("/proc/vmstat")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_FRACTION = 0.25


def memory_kills() -> int | None:
    """Return how many processes the kernel has killed for memory since it started; None where it does not say."""
    try:
        lines = _VMSTAT.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def was_memory(kills_before: int | None, peak_bytes: int) -> bool:
    """Return whether a SIGKILL was the kernel's answer to a lack of memory.

    Where the kernel counted none since ``kills_before`` (it may not count those of a container), a process that had
    used up a quarter of the memory is still taken for one.
    """
    after = memory_kills()
    if kills_before is None or after is None or after > kills_before:
        return True
    return peak_bytes >= _FRACTION * _memory_bytes()


def _memory_bytes() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _LIMITS:
        try:
            total = min(total, int(path.read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return total
