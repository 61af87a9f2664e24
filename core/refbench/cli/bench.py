"""``refbench bench``: run a suite of methods, scenes and seeds."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from refbench.cli.completion import complete_suites
from refbench.cli.executor_options import executor_choice, executor_options
from refbench.engine.job.result import Status
from refbench.engine.sweeps.jobs import plan_rows, seed_note
from refbench.engine.sweeps.run import FAILURES, SweepState, run_sweep
from refbench.engine.sweeps.suite import check_trust, load_suite
from refbench.engine.sweeps.suite_scenes import scene_fault
from refbench.files.atomic import atomic_file
from refbench.files.gdal_path import TRUST_VARIABLE
from refbench.reporting.report import write_sweep_report
from refbench.reporting.tables.data import sweep_tables
from refbench.reporting.tables.formats import write_tables
from refbench.reporting.terminal import echo
from refbench.reporting.terminal_console import console as terminal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from refbench.engine.job.result import Result
    from refbench.engine.sweeps.executor_choice import ExecutorChoice
    from refbench.engine.sweeps.finished import SweepJob
    from refbench.engine.sweeps.jobs import PlannedJob
    from refbench.engine.sweeps.suite import Suite

TABLE_FILE = "table.md"
WIDTH = 140
"""Of the table where the output is no terminal, which has its own."""
RETRIES = ("failed", "timeout", "oom", "crashed", "skipped", "unsupported", "all")


@click.command()
@click.argument("suite", shell_complete=complete_suites)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the sweep.")
@executor_options
@click.option("--resume", is_flag=True, help="Continue the sweep in --out: run only what is missing or stale.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Jobs by method, scene or id; repeatable.")
@click.option("--retry", multiple=True, type=click.Choice(RETRIES), help="Run such jobs again; repeatable.")
@click.option(
    "--trust",
    is_flag=True,
    help="Run the interpreters that a suite from elsewhere names; open its scenes' /vsi paths and URLs.",
)
@click.option("--dry-run", is_flag=True, help="List the jobs and stop.")
def command(
    suite: str,
    out: Path,
    workers: int,
    kind: str | None,
    scheduler: str | None,
    worker_memory: int | None,
    resume: bool,
    only: tuple[str, ...],
    retry: tuple[str, ...],
    trust: bool,
    dry_run: bool,
) -> int:
    """Run SUITE, a shipped suite (tiny, quick, city, real, multiview) or a YAML file, job by job.

    Every job runs in a process of its own and ends as a row, however it ends. --retry failed means failures of
    every kind and continues the sweep. Exit codes: 0; 1 a job failed, timed out, ran out of memory or crashed
    (skipped and unsupported ones are no failure); 2 bad input; 130 interrupted, finished rows are kept.
    """
    if trust:
        os.environ[TRUST_VARIABLE] = "1"  # the processes of jobs see it, too
    loaded = load_suite(suite)
    if dry_run:
        check_trust(loaded, trust)
        return _dry_run(loaded, only)
    results = run_shown(
        loaded,
        out,
        resume=resume or bool(retry),
        only=only,
        retry=statuses_of(retry),
        trust=trust,
        executor=executor_choice(workers, kind, scheduler, worker_memory),
    )
    print_results(results.items())
    write_reports(out)
    return failed_code(results.values())


def failed_code(results: Iterable[Result]) -> int:
    """Return the exit code of jobs that have run: 1 where one failed in any way."""
    return int(any(result.status in FAILURES for result in results))


def write_reports(out: Path) -> None:
    """Write the tables and the page into the folder, and say where they are."""
    with atomic_file(out / TABLE_FILE) as file:
        file.write(write_tables(sweep_tables(out), "md").encode())
    echo(f"\n{out / TABLE_FILE}\n{write_sweep_report(out)}")
    echo(f"Other formats: refbench table {out} --format latex | csv | html | json")


def statuses_of(names: tuple[str, ...]) -> frozenset[Status]:
    """Return the ends that names of ``RETRIES`` mean."""
    found: set[Status] = set()
    for name in names:
        found |= set(Status) - {Status.OK} if name == "all" else FAILURES if name == "failed" else {Status(name)}
    return frozenset(found)


def _dry_run(suite: Suite, only: tuple[str, ...]) -> int:
    rows = plan_rows(suite, only)
    faults = {row.scene.name: scene_fault(row.scene) for row in rows}
    for row in rows:
        made = " (the scene is made first)" if row.scene.recipe else ""
        echo(f"{row.id}{f'  skipped: {row.skipped}' if row.skipped else made}")
    echo(f"{len(rows)} jobs.")
    if said := seed_note(suite, rows):
        echo(said)
    for name, fault in faults.items():
        if fault is not None:
            echo(f"scene {name} cannot be opened: {fault}")
    return 2 if any(faults.values()) else 0


def run_shown(suite: Suite, out: Path, *, executor: ExecutorChoice, **arguments: Any) -> dict[PlannedJob, Result]:  # noqa: ANN401  # those of run_sweep
    """Run a suite and show its progress; ``arguments`` are those of ``run_sweep``."""
    console = terminal(stderr=True)
    arguments["executor"] = executor.make()
    if not console.is_terminal:
        reporter = _Lines()
        return run_sweep(suite, out, progress=reporter.show, **arguments)
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        return run_sweep(suite, out, progress=lambda state: live.update(live_view(suite.name, state)), **arguments)


class _Lines:
    """Progress where nobody looks at a terminal: one line for every job that ends."""

    def __init__(self) -> None:
        self._done, self._note = -1, ""

    def show(self, state: SweepState) -> None:
        """Print what is new."""
        if state.note and state.note != self._note:
            self._note = state.note
            echo(state.note, err=True)
        if state.total and state.done != self._done:
            self._done = state.done
            echo(f"{state.done} of {state.total} jobs{time_left(state)}", err=True)


def time_left(state: SweepState) -> str:
    """Return the time left as words, empty where it is not known or nothing is left."""
    if state.seconds_left is None or state.done == state.total:
        return ""
    seconds = round(state.seconds_left)
    return f", about {seconds // 60} min {seconds % 60:02d} s left" if seconds >= 60 else f", about {seconds} s left"


def live_view(name: str, state: SweepState) -> Group:
    """Return what the terminal shows while a sweep runs."""
    kept = f" ({state.kept} were there)" if state.kept else ""
    lines: list[Any] = [Text(f"{name}: {state.done} of {state.total} jobs{kept}{time_left(state)}")]
    if state.total:
        lines.append(ProgressBar(total=state.total, completed=state.done, width=60))
    if state.note:
        lines.append(Text(state.note, style="dim"))
    lines += [
        Text(f"  {job}: {phase} {100 * fraction:.0f} %") for job, (phase, fraction) in sorted(state.running.items())
    ]
    return Group(*lines)


def print_results(results: Collection[tuple[PlannedJob | SweepJob, Result]]) -> None:
    """Print one line for every job and its result: status, errors in metres, CPU seconds."""
    table = Table(box=SIMPLE_HEAD, title="MAE in metres on the common pixels; [95 % interval]", title_justify="left")
    for heading, justify in (("method", "left"), ("scene", "left"), ("seed", "right"), ("status", "left")):
        table.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for heading in ("input ↓", "refined ↓", "CPU s ↓"):
        table.add_column(heading, justify="right", no_wrap=True)
    for job, result in results:
        cpu = result.cost.cpu_s
        table.add_row(
            Text(job.label),
            Text(job.scene),
            str(job.seed),
            Text(result.status.value, style="red" if result.status in FAILURES else ""),
            mae(result, "input"),
            mae(result, "refined"),
            "–" if cpu is None else f"{cpu:.1f}",
        )
    console = terminal(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table)
    for job, result in results:
        if result.status is not Status.OK:
            console.print(Text(f"{job.id}: {result.status.value}: {result.reason}"), soft_wrap=True)


def mae(result: Result, which: str) -> Text:
    """Return the mean absolute error of ``input`` or ``refined`` with its interval, a dash where there is none."""
    scores = (result.metrics or {}).get(which) or {}
    value = (scores.get("all") or {}).get("mae")
    if value is None:
        return Text("–")
    interval = ((scores.get("intervals") or {}).get("all") or {}).get("mae")
    suffix = "" if which == "input" or interval is None else f" [{interval['low']:.3f}, {interval['high']:.3f}]"
    return Text(f"{value:.3f}{suffix}")
