"""``refbench implicity-chunks``: the official data set for training, from an official builder configuration."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the data set; a new one.")
@click.option(
    "--root", type=click.Path(path_type=Path), help="Where the configuration's paths start; default: its own folder."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the query points.")
def command(config: Path, out: Path, root: Path | None, seed: int) -> None:
    """Build chunks of points and labelled query points from CONFIG, a YAML file of the official data-set builder."""
    from refbench.contracts.method import derived_rng
    from refbench.files.new_folder import new_folder
    from refbench_implicity.official.builder import BuildConfig, build_dataset
    from refbench_implicity.official.config import read_official

    built = BuildConfig.from_official(read_official(config), root or config.parent)
    with new_folder(out) as folder:
        build_dataset(
            built, folder, derived_rng(seed, "implicity-chunks"), lambda done, name: click.echo(f"{done:4.0%} {name}")
        )
    click.echo(f"data set: {out}")
