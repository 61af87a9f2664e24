"""What Linux and macOS have and Windows lacks: asked for where it is used, and its absence is one sentence."""

from __future__ import annotations

import os
import platform

from refbench.contracts.errors import UnsupportedError

PARTS = ("fork", "wait4", "setsid", "killpg")
"""Functions of ``os`` by which jobs are started, watched and ended."""


def require_posix(what: str) -> None:
    """Refuse what needs processes and locks of POSIX where there are none.

    Raises
    ------
    UnsupportedError
        A part is missing; the message names it and ``what`` needs it.
    """
    missing = [f"os.{name}" for name in PARTS if not hasattr(os, name)]
    try:
        import fcntl  # noqa: F401
    except ImportError:
        missing.append("fcntl")
    if missing:
        raise UnsupportedError(
            f"{what} needs {', '.join(missing)}, which Python on {platform.system() or 'this system'} lacks; "
            "use Linux or macOS, on Windows the Windows Subsystem for Linux."
        )


def try_lock(handle: int) -> bool:
    """Lock an open file for this process alone, without waiting; return whether that worked.

    The lock ends with the handle. Call ``require_posix`` before.
    """
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
