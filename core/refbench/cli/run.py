"""``refbench run``: refine one scene with one method, score it, show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from refbench.cli.options import (
    assessor_option,
    assessor_values_option,
    config_option,
    json_option,
    mask_option,
    method_option,
    set_option,
    weights_option,
)
from refbench.contracts.errors import InputError
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.prepare import prepare
from refbench.engine.inputs.weights import find_weights
from refbench.engine.job.launch import check_out, run_cell
from refbench.engine.job.request import CellRequest, SceneRequest, official_scene_names, open_scene
from refbench.engine.job.result import Status
from refbench.engine.scoring.assess import check_assessors
from refbench.files.sizes import parse_size
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from refbench.reporting.summary import print_summary

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene
    from refbench.engine.job.result import Result
    from refbench.registry.records import ReporterRecord

RUNS_FOLDER = "refbench-runs"


def parse_bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Turn ``4GB`` into bytes; a callback of click."""
    if value is None:
        return None
    try:
        return parse_size(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} must be a size such as 500MB or 4GB.", ctx, param) from None


@click.command()
@click.argument("scene", required=False, type=click.Path(path_type=Path))
@method_option
@click.option("--points", type=click.Path(path_type=Path), help="Point cloud: LAS, LAZ, PLY or NPZ.")
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
@click.option("--vertical", help="Vertical datum: ellipsoid, an EPSG code, unknown.")
@click.option("--height-unit", type=click.Choice(["metre", "foot", "us_survey_foot"]), help="Unit of the heights.")
@config_option
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
@click.option("--memory", callback=parse_bytes, default="2GB", show_default=True, help="Budget of the tiles in flight.")
@click.option("--memory-cap", callback=parse_bytes, help="Hard limit of the process' address space.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Deadline in seconds.")
@click.option("--nodata", type=float, default=-9999.0, show_default=True, help="NoData code of dsm.tif; nan is fine.")
@click.option(
    "--coregister",
    type=click.Choice(["none", "initial-once"]),
    default="none",
    show_default=True,
    help="initial-once: lay the initial DSM on the reference and move every DSM by that one shift before scoring.",
)
@click.option(
    "--resampling", default="bilinear", show_default=True, help="How a DSM comes to the reference's grid for scoring."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, with memory and time, and stop.")
@assessor_option
@assessor_values_option
@click.option("--reporter", "reporters", multiple=True, metavar="NAME", help="A further report; see refbench plugins.")
@click.option("--no-report", is_flag=True, help="Write no report.html.")
@json_option
def command(scene: Path | None, method: str, **options: Any) -> int:  # noqa: ANN401  # the options above
    """Refine SCENE (a folder with scene.yaml), plain files, or the embedded scene, and score the result.

    Exit codes: 0 ok, 1 failed, 2 bad input, 3 unsupported or skipped.
    """
    record = load_registry().methods.get(method)
    check_assessors(options["assessors"])
    reporters = [load_registry().reporters.get(name) for name in options["reporters"]]
    request = _request(scene, record.name, options)
    if options["out"] is None:
        request = replace(request, out=str(_numbered(record.name)))
    requests = _per_data_set(request)
    if options["dry_run"]:
        return max(_dry_run(one) for one in requests)
    opened = [_check(one) for one in requests]
    for one in requests:
        check_out(one.folder, options["overwrite"])
    return max(_run(one, scene, reporters, options) for one, scene in zip(requests, opened, strict=True))


def _per_data_set(request: CellRequest) -> list[CellRequest]:
    """Return one request for each data set that an official configuration lists, in a folder of its own."""
    names = official_scene_names(request)
    if len(names) < 2:
        return [request]
    return [_of_data_set(request, name) for name in names]


def _of_data_set(request: CellRequest, name: str) -> CellRequest:
    kept = None if request.checkpoints is None else str(Path(request.checkpoints) / name)
    scene = replace(request.scene, name=name)
    return replace(request, out=str(request.folder / name), scene=scene, checkpoints=kept)


def _run(request: CellRequest, opened: Scene, reporters: list[ReporterRecord], options: dict[str, Any]) -> int:
    """Run one cell with a progress bar, print what came out, and return its exit code."""

    def finish(folder: Path, result: Result) -> None:
        if not options["no_report"]:
            from refbench.reporting.page.rerun_command import command_line  # brings matplotlib
            from refbench.reporting.report import write_report

            write_report(folder, result, opened, command_line(request))
        for reporter in reporters:
            if result.status is Status.OK:
                resolve(reporter.target)([result], folder)

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[message]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("start", total=1.0, message="")

        def show(phase: str, share: float, message: str) -> None:
            bar.update(task, description=f"{request.method}: {phase}", completed=share, message=message)

        result = run_cell(request, overwrite=options["overwrite"], progress=show, finish=finish)
    if options["as_json"]:
        click.echo((request.folder / "result.json").read_text())
    else:
        print_summary(result, request.folder)
    return result.status.exit_code


def _request(scene: Path | None, method: str, options: dict[str, Any]) -> CellRequest:
    names = ("points", "dsm", "ndvi", "reference")
    files: dict[str, Any] = {name: str(path.absolute()) for name in names if (path := options[name]) is not None}
    for name in ("orthos", "views"):
        if options[name]:
            files[name] = [str(path.absolute()) for path in options[name]]
    if options["masks"]:
        files["masks"] = {name: str(path.absolute()) for name, path in options["masks"].items()}
    if scene is not None and files:
        raise InputError(f"Give either the scene {scene} or plain files such as --{next(iter(files))}, not both.")
    facts = {name: options[name] for name in ("crs", "vertical", "height_unit", "gsd") if options[name] is not None}
    if facts and not files:
        raise InputError(f"--{next(iter(facts)).replace('_', '-')} is for plain files; a scene says it in scene.yaml.")
    config = options["config"]
    if config is not None and Path(config).exists():
        config = str(Path(config).absolute())
    weights = options["weights"]
    if weights is not None and ("/" in weights or Path(weights).suffix) and Path(weights).exists():
        weights = str(Path(weights).absolute())
    return CellRequest(
        method=method,
        scene=SceneRequest(None if scene is None else str(scene.absolute()), {**files, **facts} if files else {}),
        out=str(options["out"].absolute()) if options["out"] is not None else "",
        config=config,
        overrides=options["overrides"],
        weights=weights,
        seed=options["seed"],
        device=options["device"],
        threads=options["threads"],
        memory_budget_bytes=options["memory"],
        memory_cap_bytes=options["memory_cap"],
        deadline_s=options["timeout"],
        gsd=options["gsd"],
        nodata=options["nodata"],
        coregister=options["coregister"],
        resampling=options["resampling"],
        assessors=options["assessors"],
        assessor_options=options["assessor_options"],
        checkpoints=str(options["checkpoints"].absolute()) if options["checkpoints"] is not None else None,
    )


def _check(request: CellRequest) -> Scene:
    """Find bad input before anything is written: scene, configuration, weights; return the scene."""
    record = load_registry().methods.get(request.method)
    config = load_config(record, request.config, request.overrides)
    find_weights(record, request.weights, config.values.get("weights"))
    return open_scene(request)


def _dry_run(request: CellRequest) -> int:
    record = load_registry().methods.get(request.method)
    config = load_config(record, request.config, request.overrides)
    scene = open_scene(request)
    preparation = prepare(scene, record, request.gsd)
    weights = find_weights(record, request.weights, config.values.get("weights"))
    click.echo(f"scene    {scene.id}: {scene.grid!r}")
    click.echo(f"method   {record.name} ({record.summary}), config {config.source}, weights {weights or 'none'}")
    for index, line in enumerate(preparation.lines()):
        click.echo(f"{'bridges' if index == 0 else '':8} {line}")
    pixels = 0 if scene.grid is None else scene.grid.width * scene.grid.height
    speed = float(record.tags.get("seconds_per_megapixel", "nan"))
    seconds = preparation.seconds + speed * pixels / 1e6
    memory = preparation.bytes + request.memory_budget_bytes
    time = f"about {seconds:.0f} s on one core" if seconds == seconds else "time unknown: the method states no speed"
    click.echo(f"estimate {pixels / 1e6:.2f} Mpx, at most {memory / (1 << 20):,.0f} MiB beside the packages, {time}")
    for warning in (*scene.warnings, *config.notes):
        click.echo(f"note     {warning}")
    return Status.OK.exit_code


def _numbered(method: str) -> Path:
    """Return the next free folder ``refbench-runs/0001-<method>``."""
    folder = Path(RUNS_FOLDER).absolute()
    taken = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]-*")] if folder.is_dir() else []
    return folder / f"{max(taken, default=0) + 1:04d}-{method}"
