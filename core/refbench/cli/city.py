"""``refbench city``: a procedural city scene with its own reference."""

from __future__ import annotations

from pathlib import Path

import click

from refbench.reporting.terminal import echo


@click.command()
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Which city; see below.")
@click.option("--size", type=int, default=256, show_default=True, help="Side of the reference grid in PIXELS.")
@click.option("--gsd", type=float, default=0.5, show_default=True, help="Its pixel in metres.")
@click.option("--image-gsd", type=float, help="Pixel of the satellite images in metres; by default that of the grid.")
@click.option("--aerial", type=click.IntRange(min=0), default=8, show_default=True, help="Number of aerial views.")
@click.option("--no-aerial", is_flag=True, help="Make no aerial views: faster, enough for DSM methods.")
@click.option("--count", type=click.IntRange(min=1), help="Make this many seeds, each in OUT/city-SEED.")
@click.option(
    "--version",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    help="1: one sensor, sun, base and matcher for all; 2: drawn per city, as varied as real DSMs.",
)
@click.option(
    "--surface",
    type=click.Path(path_type=Path),
    help="A DSM, such as a LiDAR survey, whose parts take the place of the city's geometry; needs --version 2.",
)
@click.option("--overwrite", is_flag=True, help="Replace scenes that are there.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the scene.")
def command(
    seed: int,
    size: int,
    gsd: float,
    image_gsd: float | None,
    aerial: int,
    no_aerial: bool,
    count: int | None,
    version: int,
    surface: Path | None,
    overwrite: bool,
    out: Path,
) -> None:
    """Make a procedural city: images by ray casting, points by real matching, the true DSM.

    The tile has SIZE x GSD metres a side: --size 256 --gsd 0.5 is 128 m. The same seed and options give the same
    city. Seeds below 1000 are for training; from 1000 on they are kept for tests and must not be trained on.
    """
    from refbench.city.make import make_city
    from refbench.city.scene import check_free, input_statistics, write_city
    from refbench.formats.raster import open_dsm

    folders = {seed: out} if count is None else {s: out / f"city-{s:04d}" for s in range(seed, seed + count)}
    for folder in folders.values():
        check_free(folder, overwrite)
    given = None if surface is None else open_dsm(surface).read()
    count_aerial = 0 if no_aerial else aerial
    for each, folder in folders.items():
        city = make_city(each, size, gsd, image_gsd=image_gsd, aerial=count_aerial, version=version, surface=given)
        path = write_city(city, folder, overwrite=overwrite)
        figures = input_statistics(city)
        echo(
            f"{path}: {city.notes['character']}, {city.notes['buildings']} buildings, {len(city.points):,} points; "
            f"initial DSM {100 * figures['valid']:.0f} % valid, NMAD {figures['nmad']:.2f} m, "
            f"RMSE {figures['rmse']:.2f} m; RPC error {max(city.notes['rpc_max_error_px'].values()):g} px."
        )
