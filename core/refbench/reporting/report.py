"""``report.html``: the page of a run or of a sweep, written beside its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.files.atomic import atomic_file
from refbench.reporting.page.render import render
from refbench.reporting.page.run import run_page
from refbench.reporting.page.sweep import sweep_page

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.scene import Scene
    from refbench.engine.job.result import Result

REPORT_FILE = "report.html"


def write_report(folder: Path, result: Result, scene: Scene | None = None, command: str = "") -> Path:
    """Write the page of one run into the folder of its result; return the file.

    ``scene`` gives the initial DSM and the reference for the images, ``command`` is what runs it again.
    """
    return _write(folder, render(run_page(folder, result, scene, command)))


def write_sweep_report(out: Path) -> Path:
    """Write the page of a sweep into its folder; return the file.

    Raises
    ------
    InputError
        ``out`` holds no sweep.
    """
    return _write(out, render(sweep_page(out)))


def _write(folder: Path, text: str) -> Path:
    with atomic_file(folder / REPORT_FILE) as file:
        file.write(text.encode())
    return folder / REPORT_FILE
