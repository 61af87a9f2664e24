"""``refbench table``: the tables of a sweep."""

from __future__ import annotations

from pathlib import Path

import click

from refbench.files.atomic import atomic_file
from refbench.files.out_guard import check_out_file
from refbench.reporting.tables.data import sweep_tables
from refbench.reporting.tables.formats import FORMATS, write_tables
from refbench.reporting.terminal import echo

DOMAINS = ("common", "own")
STDOUT = Path("-")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(tuple(FORMATS)), default="md", show_default=True, help="Format.")
@click.option("--stratum", "strata", multiple=True, metavar="NAME", help="Stratum of the accuracy; repeatable.")
@click.option("--metric", "metrics", multiple=True, metavar="KEY", help="Metric of the accuracy; repeatable.")
@click.option("--domain", type=click.Choice(DOMAINS), help="One domain alone; default: as the suite says.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write; - or nothing: standard output.")
def command(
    folder: Path, form: str, strata: tuple[str, ...], metrics: tuple[str, ...], domain: str | None, out: Path | None
) -> None:
    """Compare the jobs of the sweep in DIR and print its tables.

    Accuracy with 95 % intervals on the common and on each DSM's own domain, strata, edges, cost, what did not end ok,
    and reported numbers against measured ones. What is compared is kept in DIR/comparison.
    """
    if out == STDOUT:
        out = None
    if out is not None:
        check_out_file(out)
    domains = () if domain is None else (domain,)
    text = write_tables(sweep_tables(folder, strata=strata, metrics=metrics, domains=domains), form)
    if out is None:
        echo(text, nl=False)
        return
    with atomic_file(out) as file:
        file.write(text.encode())
    echo(str(out))
