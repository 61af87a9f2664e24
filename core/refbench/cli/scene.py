"""``refbench scene``: scene files for data that are there, and scenes in the layouts of other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from refbench.cli.official import check_official_options, official_files
from refbench.cli.options import mask_option, nodata_in_option, official_option
from refbench.files.new_folder import check_new, folder_in_place
from refbench.reporting.terminal import echo


@click.group()
def command() -> None:
    """Write scene files; make scenes from images; convert scenes to the layouts of other systems."""


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--points", type=click.Path(path_type=Path), help="Point cloud: LAS, LAZ, PLY or NPZ.")
@click.option("--dsm", type=click.Path(path_type=Path), help="The initial DSM.")
@click.option("--ortho", "orthos", multiple=True, type=click.Path(path_type=Path), help="Ortho image; repeatable.")
@click.option("--view", "views", multiple=True, type=click.Path(path_type=Path), help="Image with RPC; repeatable.")
@click.option("--ndvi", type=click.Path(path_type=Path), help="NDVI in [-1, 1].")
@click.option("--reference", type=click.Path(path_type=Path), help="The reference DSM.")
@mask_option
@click.option("--gsd", type=click.FloatRange(min=0, min_open=True), help="Pixel (m) where no raster defines one.")
@click.option("--crs", help="CRS of files that carry none, such as EPSG:32632.")
@click.option("--vertical", help="Vertical datum: ellipsoid, an EPSG code, unknown.")
@click.option("--height-unit", type=click.Choice(["metre", "foot", "us_survey_foot"]), help="Unit of the heights.")
@nodata_in_option
@click.option("--scene-id", metavar="NAME", help="Name of the scene in results; default: that of the file.")
def new(folder: Path, **files: Any) -> None:  # noqa: ANN401  # the options above
    """Write FOLDER/scene.yaml for files that are there; every key is explained in it.

    The files stay where they are; the scene file names them relative to itself.
    """
    from refbench.scenes.template import write_template

    path = write_template(folder, files)
    click.echo(f"Wrote {path}. Try it with: refbench run {folder} --method median --dry-run")


@command.command()
@click.option("--to", "method", metavar="METHOD", required=True, help="The method whose official layout to write.")
@official_option
@click.argument("scene", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def export(method: str, options: dict[str, Any], scene: Path, folder: Path) -> None:
    """Write SCENE (a folder or its scene.yaml) to FOLDER as the official code of METHOD reads it."""
    from refbench.scenes.scene_yaml import load_scene

    with official_files(method) as files:
        check_official_options(f"scene export of {method}", options, files.export_options)
        check_new(folder)
        loaded = load_scene(scene)
        with folder_in_place(folder):  # official files name it
            notes = files.export_scene(loaded, folder, options)
    for key, value in notes.items():
        echo(f"{key}: {value}")
    echo(f"Wrote {folder}.")


@command.command("from-images")
@click.argument("more", nargs=-1, metavar="[IMAGE]...", type=click.Path(path_type=Path))
@click.option(
    "--images",
    multiple=True,
    required=True,
    metavar="IMAGE...",
    type=click.Path(path_type=Path),
    help="Two or more satellite images with RPC.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the scene; a new one.")
@click.option(
    "--gsd", type=click.FloatRange(min=0, min_open=True), help="Pixel size (m) of the DSM; default: the images'."
)
@click.option("--like", type=click.Path(path_type=Path), help="A raster whose grid the DSM takes.")
@click.option("--reference", type=click.Path(path_type=Path), help="Reference DSM of the scene; its grid is taken.")
@click.option("--crs", help="CRS of the scene; default: the UTM zone of the images.")
@click.option("--pairs", "most_pairs", type=click.IntRange(min=1), default=7, show_default=True, help="Pairs at most.")
def from_images(more: tuple[Path, ...], images: tuple[Path, ...], out: Path, **options: Any) -> None:  # noqa: ANN401
    """Make a scene from satellite images with RPC: DSM, cloud, orthos, views."""
    from refbench.stereo.write import write_scene_from_images

    check_new(out)
    notes = write_scene_from_images((*images, *more), out, note=lambda text: echo(text, err=True), **options)
    for sentence in notes:
        echo(sentence)
    echo(f"Wrote {out / 'scene.yaml'}.")
