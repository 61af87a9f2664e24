"""``refbench run``: refine one scene with one method, score it, show it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refbench.cli.completion import complete_reporters
from refbench.cli.dry_run import dry_run
from refbench.cli.executor_options import executor_choice, executor_options
from refbench.cli.options import (
    RasterPath,
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
    trust_option,
    weights_option,
)
from refbench.cli.run_regions import show_region, show_regions
from refbench.cli.show_run import show_run
from refbench.contracts.errors import InputError
from refbench.engine.inputs.check import check_inputs
from refbench.engine.inputs.config import load_config
from refbench.engine.inputs.scene import official_run
from refbench.engine.job.launch import input_paths
from refbench.engine.job.request import LISTS, JobRequest
from refbench.engine.scoring.assess import check_assessors
from refbench.files.out_guard import check_out
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene
    from refbench.engine.inputs.config import ResolvedConfig
    from refbench.registry.records import ReporterRecord

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
@click.option("--dsm", type=RasterPath(), help="The initial DSM.")
@click.option("--ortho", "orthos", multiple=True, type=RasterPath(), help="Ortho image; repeatable.")
@click.option("--view", "views", multiple=True, type=RasterPath(), help="Satellite image with RPC; repeatable.")
@click.option("--ndvi", type=RasterPath(), help="NDVI in [-1, 1].")
@click.option("--reference", type=RasterPath(), help="The true DSM, for scoring only.")
@mask_option
@click.option(
    "--gsd",
    type=click.FloatRange(min=0, min_open=True),
    help="Pixel size (m) of the output grid when no raster defines one.",
)
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
@trust_option
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
    help="Folder of the method's checkpoints; a run that was interrupted is resumed from there.",
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
    help="initial-once: co-register the initial DSM to the reference and apply that shift to every DSM before scoring.",
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
@click.option(
    "--regions",
    type=click.IntRange(min=1),
    help="Cut the raster into so many regions with halo, run them by --executor, join them: the same pixels.",
)
@click.option(
    "--region-index", type=int, help="Run this region of --of alone, counted from 0; refbench merge joins them."
)
@click.option("--of", type=int, help="How many regions there are, with --region-index.")
@executor_options
@click.option("--stac", is_flag=True, help="Write item.json, a STAC item of what the run made.")
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
    _check_regions(request, options)
    if not request.out:
        request = replace(request, out=str(_numbered(record.name)))
    config = load_config(record, request.config, request.overrides)
    requests = _per_data_set(request, config)
    if options["dry_run"]:
        return max(dry_run(one, config) for one in requests)
    opened = [check_inputs(one, config).scene for one in requests]
    for one in requests if request.region is None else ():
        check_out(one.folder, options["overwrite"], input_paths(one))
    return max(_shown(one, scene, reporters, options) for one, scene in zip(requests, opened, strict=True))


def _shown(request: JobRequest, opened: Scene, reporters: list[ReporterRecord], options: dict[str, Any]) -> int:
    """Run one request, whole or by regions, and return its exit code."""
    shown = {name: options[name] for name in ("overwrite", "as_json")}
    if request.region is not None:
        return show_region(request, opened, **shown)
    shown |= {"report": not options["no_report"], "stac": options["stac"]}
    if options["regions"] is not None:
        choice = executor_choice(*(options[name] for name in ("workers", "kind", "scheduler", "worker_memory")))
        return show_regions(request, opened, options["regions"], choice, **shown)
    return show_run(request, opened, reporters=reporters, **shown)


def _check_regions(request: JobRequest, options: dict[str, Any]) -> None:
    """Refuse options of regions that do not go together.

    Raises
    ------
    InputError
        Both kinds of regions, a region without a folder that others find, or an executor without regions.
    """
    if request.region is not None and options["regions"] is not None:
        raise InputError("--regions runs all regions and --region-index one of them; give one of the two.")
    if request.region is not None and not request.out:
        raise InputError("--region-index needs --out, the same for all regions.")
    if options["regions"] is None:
        for name, given in (
            ("--executor", options["kind"]),
            ("--scheduler", options["scheduler"]),
            ("--worker-memory", options["worker_memory"]),
            ("--workers", None if options["workers"] == 1 else options["workers"]),
        ):
            if given is not None:
                raise InputError(f"{name} is for --regions N: a run without regions is one job.")


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


def _spelt(name: str) -> str:
    """Return the option of a name of ``JobRequest.from_options``."""
    return {"scene": "SCENE", **LISTS, "masks": "--mask"}.get(name, f"--{name.replace('_', '-')}")


def _numbered(method: str) -> Path:
    """Return the next free folder ``refbench-runs/0001-<method>``."""
    folder = Path(RUNS_FOLDER).absolute()
    taken = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]-*")] if folder.is_dir() else []
    return folder / f"{max(taken, default=0) + 1:04d}-{method}"
