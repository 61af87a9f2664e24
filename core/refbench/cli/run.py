"""``refbench run``: refine one scene with one method, score it, show it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from refbench.cli.completion import complete_reporters
from refbench.cli.dry_run import dry_run
from refbench.cli.options import (
    assessor_option,
    assessor_values_option,
    config_option,
    json_option,
    mask_option,
    max_pixels_option,
    memory_option,
    method_option,
    nodata_in_option,
    parse_bytes,
    resampling_option,
    set_option,
    weights_option,
)
from refbench.cli.verbosity import is_quiet
from refbench.engine.inputs.check import check_inputs
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.scene import official_run
from refbench.engine.job.launch import input_paths, run_job
from refbench.engine.job.request import LISTS, JobRequest
from refbench.engine.job.result import Status
from refbench.engine.scoring.assess import check_assessors
from refbench.files.out_guard import check_out
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from refbench.reporting.summary import print_summary
from refbench.reporting.terminal import echo
from refbench.reporting.terminal_console import console as terminal

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene
    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.engine.job.result import Result
    from refbench.registry.records import ReporterRecord

logger = logging.getLogger("refbench.run")
RUNS_FOLDER = "refbench-runs"


@click.command()
@click.argument("scene", required=False, type=click.Path(path_type=Path))
@method_option
@click.option(
    "--points",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Point cloud: LAS, LAZ, PLY or NPZ; repeatable, several are read as one.",
)
@click.option("--dsm", type=click.Path(path_type=Path), help="The initial DSM.")
@click.option("--ortho", "orthos", multiple=True, type=click.Path(path_type=Path), help="Ortho image; repeatable.")
@click.option(
    "--view", "views", multiple=True, type=click.Path(path_type=Path), help="Satellite image with RPC; repeatable."
)
@click.option("--ndvi", type=click.Path(path_type=Path), help="NDVI in [-1, 1].")
@click.option("--reference", type=click.Path(path_type=Path), help="The true DSM, for scoring only.")
@mask_option
@click.option("--gsd", type=click.FloatRange(min=0, min_open=True), help="Pixel in metres where no raster says it.")
@click.option("--crs", help="CRS of files that carry none, such as EPSG:32632.")
@click.option(
    "--target-crs",
    metavar="CRS",
    help="CRS in metres to work in; own: that of a DSM in feet, in metres. Default: the DSM's, else its UTM zone.",
)
@click.option("--vertical", help="Vertical datum: ellipsoid, an EPSG code, unknown.")
@click.option("--scene-id", metavar="NAME", help="Name of the scene in results; default: that of the file.")
@click.option("--height-unit", type=click.Choice(["metre", "foot", "us_survey_foot"]), help="Unit of the heights.")
@click.option(
    "--keep-noise", is_flag=True, default=None, help="Keep points of the noise classes 7 and 18; default: drop them."
)
@nodata_in_option
@max_pixels_option
@config_option
@click.option(
    "--data-set", metavar="NAME", help="The data set of an official configuration to run; default: all of them."
)
@set_option
@weights_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the result; default: a new numbered one.")
@click.option("--overwrite", is_flag=True, help="Replace a result that is in --out.")
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder where the method keeps its state and goes on from after an interruption.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random draw.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch and BLAS.")
@memory_option
@click.option("--memory-cap", callback=parse_bytes, help="Hard limit of the process' address space.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Deadline in seconds.")
@click.option(
    "--nodata", type=float, help="NoData code of dsm.tif, nan is fine; default: that of the input DSM, else -9999."
)
@click.option(
    "--coregister",
    type=click.Choice(["none", "initial-once"]),
    default="none",
    show_default=True,
    help="initial-once: lay the initial DSM on the reference and move every DSM by that one shift before scoring.",
)
@resampling_option
@click.option("--back", is_flag=True, help="Also write dsm_back.tif: refined, in the input's CRS, grid and unit.")
@click.option(
    "--no-bridge",
    "no_bridges",
    multiple=True,
    metavar="NAME",
    help="Switch off a conversion that a method could use or needs, such as images-to-orthos; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, with memory and time, and stop.")
@assessor_option
@assessor_values_option
@click.option(
    "--reporter",
    "reporters",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_reporters,
    help="A further report; see refbench plugins.",
)
@click.option("--no-report", is_flag=True, help="Write no report.html.")
@json_option
def command(scene: Path | None, method: str, **options: Any) -> int:  # noqa: ANN401  # the options above
    """Refine SCENE (a folder with scene.yaml), plain files, or the embedded scene, and score the result.

    Exit codes: 0 ok, 1 failed, 2 bad input, 3 unsupported or skipped.
    """
    record = load_registry().methods.get(method)
    check_assessors(options["assessors"])
    reporters = [load_registry().reporters.get(name) for name in options["reporters"]]
    request = JobRequest.from_options(record.name, {"scene": scene, **options}, _spelt)
    if not request.out:
        request = replace(request, out=str(_numbered(record.name)))
    config = load_config(record, request.config, request.overrides)
    requests = _per_data_set(request, config)
    if options["dry_run"]:
        return max(dry_run(one, config) for one in requests)
    opened = [check_inputs(one, config).scene for one in requests]
    for one in requests:
        check_out(one.folder, options["overwrite"], input_paths(one))
    return max(_run(one, scene, reporters, options) for one, scene in zip(requests, opened, strict=True))


def _per_data_set(request: JobRequest, config: ResolvedConfig) -> list[JobRequest]:
    """Return one request for each data set that an official configuration lists, in a folder of its own."""
    official = official_run(request, config)
    names = () if official is None or request.scene.name is not None else official.scene_names()
    if len(names) < 2:
        return [request]
    return [_of_data_set(request, name) for name in names]


def _of_data_set(request: JobRequest, name: str) -> JobRequest:
    kept = None if request.checkpoints is None else str(Path(request.checkpoints) / name)
    scene = replace(request.scene, name=name)
    return replace(request, out=str(request.folder / name), scene=scene, checkpoints=kept)


def _run(request: JobRequest, opened: Scene, reporters: list[ReporterRecord], options: dict[str, Any]) -> int:
    """Run one job with a progress bar, print what came out, and return its exit code."""

    def finish(folder: Path, result: Result) -> None:
        if not options["no_report"]:
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

        def show(phase: str, share: float, message: str) -> None:
            if phase != phases[-1]:
                logger.info("%s: %s", request.method, phase)
                phases.append(phase)
            bar.update(task, description=f"{request.method}: {phase}", completed=share, message=message)

        result = run_job(request, overwrite=options["overwrite"], progress=show, finish=finish)
    if options["as_json"]:
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


def _spelt(name: str) -> str:
    """Return the option of a name of ``JobRequest.from_options``."""
    return {"scene": "SCENE", **LISTS, "masks": "--mask"}.get(name, f"--{name.replace('_', '-')}")


def _numbered(method: str) -> Path:
    """Return the next free folder ``refbench-runs/0001-<method>``."""
    folder = Path(RUNS_FOLDER).absolute()
    taken = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]-*")] if folder.is_dir() else []
    return folder / f"{max(taken, default=0) + 1:04d}-{method}"
