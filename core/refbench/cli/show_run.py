"""One run on the terminal: a bar while it runs, its page, what came out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from refbench.cli.verbosity import is_quiet
from refbench.engine.job.launch import run_job
from refbench.engine.job.result import Status
from refbench.registry.records import resolve
from refbench.reporting.summary import print_summary
from refbench.reporting.terminal import echo
from refbench.reporting.terminal_console import console as terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from refbench.contracts.scene import Scene
    from refbench.engine.job.request import JobRequest
    from refbench.engine.job.result import Result
    from refbench.registry.records import ReporterRecord

logger = logging.getLogger("refbench.run")


def show_run(
    request: JobRequest,
    opened: Scene,
    *,
    overwrite: bool = False,
    report: bool = True,
    stac: bool = False,
    reporters: Sequence[ReporterRecord] = (),
    as_json: bool = False,
) -> int:
    """Run one job with a progress bar, print what came out, and return its exit code."""

    def finish(folder: Path, result: Result) -> None:
        if stac and result.status is Status.OK:
            from refbench.reporting.stac import write_item  # brings rasterio's warp

            result.outputs["stac"] = write_item(folder, result, opened).name
        if report:
            from refbench.reporting.page.rerun_command import command_line  # brings matplotlib
            from refbench.reporting.report import write_report

            write_report(folder, result, opened, command_line(request))
        for reporter in reporters:
            if result.status is Status.OK:
                resolve(reporter.target)([result], folder)

    console = terminal(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[message]}", markup=False),
        _TimeLeft(),
        console=console,
        transient=True,
        disable=not console.is_terminal or is_quiet(),
    ) as bar:
        task = bar.add_task("start", total=1.0, message="")

        phases = [""]

        def show(phase: str, fraction: float, message: str) -> None:
            if phase != phases[-1]:
                logger.info("%s: %s", request.method, phase)
                phases.append(phase)
            bar.update(task, description=f"{request.method}: {phase}", completed=fraction, message=message)

        result = run_job(request, overwrite=overwrite, progress=show, finish=finish)
    if as_json:
        echo((request.folder / "result.json").read_text())
    elif not is_quiet():
        print_summary(result, request.folder)
    elif result.status is not Status.OK:
        echo(f"{result.status.value}: {result.reason}", err=True)
    return result.status.exit_code


class _TimeLeft(TimeRemainingColumn):
    """The time left by the fraction done, where the method does not say a time of its own: one line, one time."""

    def render(self, task: Task) -> Text:
        return Text() if "left" in str(task.fields["message"]) else super().render(task)
