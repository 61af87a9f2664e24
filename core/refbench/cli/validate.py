"""``refbench validate``: check a result or a sweep against the schema and its own hashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from refbench.contracts.errors import InputError, MissingFileError
from refbench.engine.job.result import RESULT_FILE, read_result, result_schema
from refbench.engine.sweeps.check import result_faults, sweep_faults
from refbench.engine.sweeps.finished import read_sweep
from refbench.engine.sweeps.jobs import jobs_folder
from refbench.reporting.terminal import echo


@click.command()
@click.argument("folder", metavar="PATH", type=click.Path(path_type=Path))
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda *given: _schema(*given),
    help="Print the JSON Schema of result.json, with every metric's formula and unit.",
)
def command(folder: Path) -> None:
    """Check PATH: a result.json, the folder of one, or the folder of a sweep.

    Every result must be of the published schema, every file there and unchanged. Exit code 2 where anything is wrong.
    """
    if jobs_folder(folder).is_dir():
        _refuse(folder, list(sweep_faults(folder)))
        jobs = read_sweep(folder)
        ends = [job.result.status.value for job in jobs]
        counts = ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))
        echo(f"{folder} is valid: {len(jobs)} jobs, {counts}.")
        return
    path = folder / RESULT_FILE if folder.is_dir() else folder
    if not path.is_file():
        raise MissingFileError(f"There is no result {path}.")
    found = read_result(path)
    if folder.is_dir():
        _refuse(folder, list(result_faults(folder)))
    echo(f"{path} is valid: {found.method} on {found.scene}, {found.status.value}.")


def _schema(context: click.Context, option: Any, is_asked: bool) -> None:  # noqa: ANN401  # as click calls it
    del option
    if is_asked:
        echo(json.dumps(result_schema(), indent=2))
        context.exit()


def _refuse(folder: Path, faults: list[str]) -> None:
    if not faults:
        return
    for fault in faults[1:]:
        echo(fault, err=True)
    more = f" (and {len(faults) - 1} more, listed above)" if len(faults) > 1 else ""
    raise InputError(f"{folder} is not valid: {faults[0]}{more}")
