"""``refbench new-method``: a package of a method to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from refbench.testing.scaffold import METHOD_KINDS, SUMMARIES, MethodKind, write_package


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(METHOD_KINDS),
    default="tile",
    show_default=True,
    help="; ".join(f"{kind}: {SUMMARIES[kind][0].lower()}{SUMMARIES[kind][1:-1]}" for kind in METHOD_KINDS) + ".",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Where its folder is made; default: here.")
def command(name: str, kind: MethodKind, out: Path) -> None:
    """Write a method called NAME as a package that installs, is typed, passes refbench check and runs at once."""
    folder = write_package(kind, name, out)
    record = folder / name.replace("-", "_") / "record.py"
    click.echo(f"Wrote {folder}. Next:")
    click.echo(f"  export REFBENCH_PLUGINS={record.absolute()}    # or: pip install -e {folder}")
    click.echo(f"  refbench check {name}")
    if kind in ("tile", "learned"):
        click.echo(f"  refbench run --method {name}")
