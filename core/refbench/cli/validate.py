"""``refbench validate``: check a result file against its schema."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import ValidationError

from refbench.contracts.errors import InputError, MissingFileError
from refbench.engine.result import RESULT_FILE, read_result


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
def command(result: Path) -> None:
    """Check RESULT, a result.json or the folder of one, against the published schema."""
    path = result / RESULT_FILE if result.is_dir() else result
    if not path.is_file():
        raise MissingFileError(f"There is no result {path}.")
    try:
        found = read_result(path)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path} is no result: {where}: {first['msg']}.") from error
    click.echo(f"{path} is valid: {found.method} on {found.scene}, {found.status.value}.")
