"""``refbench new-assessor``: a package of an assessor to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from refbench.testing.scaffold import write_package


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Where its folder is made; default: here.")
def command(name: str, out: Path) -> None:
    """Write an assessor called NAME as a package that installs, is typed and works at once."""
    folder = write_package("assessor", name, out)
    record = folder / name.replace("-", "_") / "record.py"
    click.echo(f"Wrote {folder}. Next:")
    click.echo(f"  export REFBENCH_PLUGINS={record.absolute()}    # or: pip install -e {folder}")
    click.echo("  refbench plugins")
