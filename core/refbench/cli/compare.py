"""``refbench compare``: two sweeps or two runs, what changed beyond noise."""

from __future__ import annotations

from pathlib import Path

import click

from refbench.engine.sweeps.changes import sweep_changes
from refbench.reporting.tables.changes import change_tables
from refbench.reporting.tables.formats import FORMATS, write_tables
from refbench.reporting.terminal import echo


@click.command()
@click.argument("first", metavar="DIR_A", type=click.Path(path_type=Path))
@click.argument("second", metavar="DIR_B", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(tuple(FORMATS)), default="md", show_default=True, help="Format.")
def command(first: Path, second: Path, form: str) -> None:
    """Compare the sweeps, or the two runs on one scene, in DIR_A and DIR_B: status, accuracy, cost.

    Where both have a DSM of the same scene files, the difference is paired on the same pixels and blocks.
    """
    changes = sweep_changes(first, second)
    echo(write_tables(change_tables(changes, first.name, second.name), form), nl=False)
