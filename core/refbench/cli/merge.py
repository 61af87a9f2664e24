"""``refbench merge``: join the shards of a sweep, or the regions of a run, as if one machine had done it all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from refbench.cli.bench import failed_code, print_results, write_reports
from refbench.cli.run_regions import join_regions
from refbench.contracts.errors import InputError, MissingFileError
from refbench.engine.job.parts import REGIONS, SHARDS, find_parts, parts_folder
from refbench.engine.sweeps.finished import read_sweep
from refbench.engine.sweeps.merge import merge_shards
from refbench.engine.sweeps.store import PLAN_FILE
from refbench.reporting.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED = 20
"""How many missing jobs are named one by one."""


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("parts", nargs=-1, type=click.Path(path_type=Path))
@click.option("--partial", is_flag=True, help="Join the shards that are there although jobs are missing.")
@click.option(
    "--overwrite", is_flag=True, help="Replace a joined run that is in OUT; sweeps are always brought up to date."
)
@click.option("--stac", is_flag=True, help="Write item.json, a STAC item of the joined run.")
@click.option("--no-report", is_flag=True, help="Write no report.html of a joined run.")
def command(out: Path, parts: tuple[Path, ...], partial: bool, overwrite: bool, stac: bool, no_report: bool) -> int:
    """Join what refbench shard left in OUT.shards, or refbench run --region-index in OUT.regions, into OUT.

    PARTS are the folders to join where they lie elsewhere. What is missing is named, and nothing is written then; what
    is there twice has to be equal by hash. Exit codes: 0; 1 something is missing, or a job has failed; 2 bad input.
    """
    out = out.absolute()
    kind = _kind(out, parts)
    folders = list(parts) or find_parts(out, kind)
    if kind == REGIONS:
        return join_regions(folders, out, overwrite=overwrite, stac=stac, report=not no_report)
    if stac:
        raise InputError("--stac is for the joined regions of a run; a sweep has no DSM of its own.")
    return _join_shards(folders, out, partial)


def _kind(out: Path, parts: Sequence[Path]) -> str:
    """Return whether there are shards or regions to join."""
    if parts:
        if gone := next((part for part in parts if not part.is_dir()), None):
            raise MissingFileError(f"There is no folder {gone}.")
        return SHARDS if any((part / PLAN_FILE).is_file() for part in parts) else REGIONS
    found = [kind for kind in (SHARDS, REGIONS) if parts_folder(out, kind).is_dir()]
    if len(found) != 1:
        both = " and ".join(str(parts_folder(out, kind)) for kind in (SHARDS, REGIONS))
        raise MissingFileError(f"{both} are {'both there: name the PARTS' if found else 'not there: nothing to join'}.")
    return found[0]


def _join_shards(folders: Sequence[Path], out: Path, partial: bool) -> int:
    merged = merge_shards(folders, out, partial=partial)
    for name, why in list(merged.missing.items())[:_NAMED]:
        echo(f"missing: {name}: {why}", err=True)
    if len(merged.missing) > _NAMED:
        echo(f"missing: {len(merged.missing) - _NAMED} more", err=True)
    if merged.missing and not partial:
        echo(
            f"{len(merged.missing)} of {merged.jobs} jobs are missing and nothing was joined; run their shards again, "
            "or join the others with --partial.",
            err=True,
        )
        return 1
    if merged.repeated:
        echo(f"{len(merged.repeated)} jobs were there twice, equal by hash, such as {merged.repeated[0]}.", err=True)
    jobs = read_sweep(out)
    print_results([(job, job.result) for job in jobs])
    write_reports(out)
    return 1 if merged.missing else failed_code(job.result for job in jobs)
