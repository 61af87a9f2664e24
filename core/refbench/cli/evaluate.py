"""``refbench evaluate``: score one DSM against a reference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from refbench.cli.options import (
    RasterPath,
    assessor_option,
    assessor_values_option,
    json_option,
    mask_option,
    max_pixels_option,
    memory_option,
    nodata_in_option,
    resampling_option,
)
from refbench.contracts.errors import InputError
from refbench.engine.scoring.assess import KEY, assess, check_assessors
from refbench.evaluation.coregistration import coregister as find_shift
from refbench.evaluation.definitions import DEFINITIONS, by_definition
from refbench.evaluation.evaluate import evaluate
from refbench.evaluation.grids import KERNEL, used_kernel
from refbench.evaluation.metrics import METRICS, SHAPE, shown_in
from refbench.evaluation.outliers import without_outliers
from refbench.evaluation.streaming.sources import Moved, dsm_on
from refbench.evaluation.surfaces import grid_of
from refbench.formats.raster import open_dsm, open_mask
from refbench.formats.raster_access import STRIP_CACHE_BYTES, block_cache
from refbench.reporting.summary import assessor_tables
from refbench.reporting.tables.model import stratum_words
from refbench.reporting.terminal import echo
from refbench.reporting.terminal_console import console as terminal
from refbench.scenes.pair import on_common_grid

if TYPE_CHECKING:
    from pathlib import Path

WIDE = 112
"""Terminals of fewer columns show less; --json holds everything."""


@click.command()
@click.argument("evaluated", type=RasterPath())
@click.argument("reference", type=RasterPath())
@mask_option
@click.option("--gt-mask", type=RasterPath(), help="Where the reference counts: 1.")
@nodata_in_option
@max_pixels_option
@memory_option
@click.option("--crs", help="CRS of files that carry none, such as EPSG:32632.")
@click.option("--height-unit", type=click.Choice(["metre", "foot", "us_survey_foot"]), help="Unit of the heights.")
@click.option(
    "--target-crs", metavar="CRS", help="CRS in metres to score in; default: the reference's, else its UTM zone."
)
@resampling_option
@click.option(
    "--onto",
    type=click.Choice(["reference", "evaluated"]),
    default="reference",
    show_default=True,
    help="Whose grid both are scored on; a finer reference comes to that of EVALUATED by averaging.",
)
@click.option("--coregister", is_flag=True, help="Co-register EVALUATED to REFERENCE first and apply that shift.")
@click.option(
    "--remove-outliers",
    is_flag=True,
    help="Leave out residuals farther than 3 NMAD from their median; says how many.",
)
@click.option(
    "--definitions",
    type=click.Choice(DEFINITIONS),
    multiple=True,
    help="Also what another tool prints, by its own definitions; repeatable.",
)
@click.option("--no-bootstrap", is_flag=True, help="No confidence intervals.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the bootstrap.")
@assessor_option
@assessor_values_option
@json_option
def command(
    evaluated: Path,
    reference: Path,
    masks: dict[str, Path],
    gt_mask: Path | None,
    nodata_in: float | None,
    memory: int,
    crs: str | None,
    height_unit: str | None,
    target_crs: str | None,
    resampling: str,
    onto: str,
    coregister: bool,
    remove_outliers: bool,
    definitions: tuple[str, ...],
    no_bootstrap: bool,
    seed: int,
    assessors: tuple[str, ...],
    assessor_options: dict[str, Any],
    as_json: bool,
) -> None:
    """Score the DSM EVALUATED against the DSM REFERENCE; residual = evaluated - reference, metres."""
    check_assessors(assessors)
    sources = {
        name: open_dsm(path, nodata=nodata_in, crs=crs, height_unit=height_unit, any_crs=True)
        for name, path in (("evaluated", evaluated), ("reference", reference))
    }
    mask_sources = {name: open_mask(path, name=name, crs=crs) for name, path in masks.items()}
    known = None if gt_mask is None else open_mask(gt_mask, name="gt", crs=crs)
    common = on_common_grid(sources, target_crs, resampling, onto, keep_grid=coregister)
    surface, against = common.evaluated, common.reference
    with block_cache(STRIP_CACHE_BYTES):
        shift = find_shift(surface, against, mask_sources) if coregister else None
    if shift is not None:
        surface = Moved(surface, shift)
    kernel = common.kernel
    if grid_of(surface) != grid_of(against):
        kernel = used_kernel(resampling, grid_of(surface), grid_of(against))
    # ``evaluate`` resamples by its own kernel, and knows then which grid the DSM came on.
    placed = surface if kernel in (None, KERNEL) else dsm_on(surface, grid_of(against), kernel)
    near = removed = None
    if remove_outliers:
        near, removed = without_outliers(dsm_on(surface, grid_of(against), kernel or KERNEL).read(), against.read())
    with block_cache(STRIP_CACHE_BYTES):
        found = evaluate(
            placed,
            against,
            mask_sources,
            gt_mask=known,
            domain=near,
            bootstrap=not no_bootstrap,
            seed=seed,
            memory_bytes=memory,
        )
    if kernel not in (None, KERNEL):
        found["notes"]["resampling"] = f"{kernel}; masks nearest"
    if removed is not None:
        found["notes"]["outliers"] = str(removed)
    if "empty" in found["notes"]:
        raise InputError(
            f"{evaluated} and {reference} have no valid pixel in common, so nothing can be scored; "
            "check that they overlap and what the masks leave."
        )
    if shift is not None:
        found["coregistration"] = shift.values()
        found["notes"]["coregistration"] = f"EVALUATED was moved by {shift}"
    pair = (surface.read(), against.read()) if definitions or assessors else None  # these see whole rasters
    held = {name: source.read() for name, source in mask_sources.items()} if pair else {}
    if definitions and pair:
        gt = None if known is None else known.read()
        found["definitions"] = {name: by_definition(name, *pair, held, gt) for name in definitions}
    warnings = [text for source in sources.values() for text in (*source.warnings, *source.scan.notes)]
    warnings += [text for source in mask_sources.values() for text in source.check()]
    warnings += [*common.notes, *found["notes"].get("warnings", [])]
    if removed is not None:
        warnings.append(str(removed))
    grids = (grid_of(surface), grid_of(against))
    if differences := "; ".join(grids[1].differences(grids[0])):
        warnings.append(f"The grids differ ({differences}): evaluated was resampled, {found['notes']['resampling']}.")
    if assessors and pair:
        assessed, failed = assess(*pair, held, assessors, assessor_options)
        found[KEY] = dict(assessed)
        warnings += failed
    if as_json:
        echo(json.dumps({**found, "warnings": warnings}, indent=2, allow_nan=False))
        return
    _show(found)
    for warning in warnings:
        echo(f"Warning: {warning}", err=True)


def _show(found: dict[str, Any]) -> None:
    """Print the scores as tables."""
    console = terminal()
    console.print(_strata_table(found, console.width))
    if "intervals" in found:
        console.print(_interval_line(found["intervals"]))
    console.print(_shape_table(found["shape"]))
    for name, tables in found.get("definitions", {}).items():
        console.print(_definition_table(name, tables))
    for table in assessor_tables({"evaluated": found}).values():
        console.print(table)
    console.print("Residual = evaluated - reference, metres; NMAD = 1.4826 median|e - median e|; LE90 = P90 of |e|.")
    if "coregistration" in found:
        console.print(f"Co-registration: {found['notes']['coregistration']}.")


def _strata_table(found: dict[str, Any], width: int) -> Table:
    columns = [METRICS[key] for key in shown_in("verb" if width >= WIDE else "narrow")]
    table = Table(title="Accuracy (m)", title_justify="left")
    table.add_column("stratum")
    for metric in columns:
        table.add_column(metric.narrow_heading, justify="right", no_wrap=True)
    for name, values in found.items():
        if name != KEY and isinstance(values, dict) and "mae" in values:
            table.add_row(stratum_words(name), *(metric.text(values[metric.key]) for metric in columns))
    return table


def _shape_table(shape: dict[str, Any]) -> Table:
    table = Table(title="Shape", title_justify="left", show_header=False)
    for key in shown_in("verb", SHAPE):
        if key in shape:
            table.add_row(METRICS[key].heading, METRICS[key].text(shape[key]))
    return table


def _definition_table(name: str, tables: dict[str, dict[str, Any]]) -> Table:
    """Return what another tool prints: a row a number, a column a part of the ground or a surface."""
    shown = Table(title=f"By the definitions of {name}", title_justify="left")
    shown.add_column("")
    for part in tables:
        shown.add_column(part, justify="right")
    for key in next(iter(tables.values())):
        values = (values[key] for values in tables.values())
        shown.add_row(key, *("–" if value is None else f"{value:.4g}" for value in values))
    return shown


def _interval_line(intervals: dict[str, Any]) -> str:
    """Return the intervals of all pixels as one line."""
    parts = [f"{key} [{i['low']:.3f}, {i['high']:.3f}]" for key, i in intervals["all"].items() if i is not None]
    if not parts:
        return "No confidence intervals: fewer than two blocks hold pixels."
    blocks = next(interval["blocks"] for interval in intervals["all"].values() if interval is not None)
    return f"{100 * intervals['level']:.0f} % intervals (bootstrap of {blocks} blocks): " + ", ".join(parts)
