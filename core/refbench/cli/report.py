"""``refbench report``: the page of a sweep."""

from __future__ import annotations

from pathlib import Path

import click

from refbench.engine.inputs.scene import open_scene
from refbench.engine.job.request import JobRequest
from refbench.engine.job.result import RESULT_FILE, read_result
from refbench.engine.sweeps.store import REQUEST_FILE
from refbench.reporting.page.rerun_command import command_line
from refbench.reporting.report import write_report, write_sweep_report
from refbench.reporting.terminal import echo


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Write DIR/report.html of the sweep, or of the single run, in DIR: one file that opens from disk."""
    if not (folder / RESULT_FILE).is_file():
        echo(str(write_sweep_report(folder)))
        return
    result, request = read_result(folder / RESULT_FILE), folder / REQUEST_FILE
    if not request.is_file():
        echo(str(write_report(folder, result)))
        return
    asked = JobRequest.from_json(request.read_text(encoding="utf-8"))
    echo(str(write_report(folder, result, open_scene(asked), command_line(asked))))
