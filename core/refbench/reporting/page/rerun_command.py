"""The command line that runs a job again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refbench.engine.job.request import JobRequest

AGAIN = "again"
"""The folder that the line writes to."""


def command_line(request: JobRequest) -> str:
    """Return ``refbench run ...`` as it would be typed into a shell; it writes to the folder ``again``."""
    return shlex.join(replace(request, out=AGAIN).to_command_line())
