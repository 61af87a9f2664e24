"""``refbench scene``: scene files for data that are there, and scenes in the layouts of other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from refbench.cli.official import check_official_options, official_files
from refbench.cli.options import RasterPath, mask_option, nodata_in_option, official_option
from refbench.contracts.errors import InputError
from refbench.files.new_folder import check_new, folder_in_place
from refbench.registry.registry import load_registry
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


@command.command("import")
@click.option("--from", "layout", metavar="NAME", help="The layout of FOLDER; default: the first that recognises it.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the scene; a new one.")
@click.argument("folder", type=click.Path(path_type=Path))
def import_(layout: str | None, out: Path, folder: Path) -> None:
    """Write FOLDER, the output of another pipeline, as a scene with files of its own.

    Every method runs on FOLDER itself, too; the scene is for changing what its scene.yaml says. refbench plugins lists
    the layouts.
    """
    from refbench.engine.inputs.scene import open_folder
    from refbench.registry.records import resolve
    from refbench.scenes.write import write_scene

    check_new(out)
    scene = open_folder(folder) if layout is None else resolve(load_registry().importers.get(layout).target)(folder)
    with folder_in_place(out):
        write_scene(out, scene)
    for warning in scene.warnings:
        echo(warning, err=True)
    echo(f"Wrote {out / 'scene.yaml'}.")


@command.command()
@click.option(
    "--to", metavar="NAME", required=True, help="A method, for its official layout, or a pipeline: cars, s2p, odm ..."
)
@official_option
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write; a new one.")
@click.option(
    "--scene",
    "beside",
    type=click.Path(path_type=Path),
    help="The scene of a result: its orthos, points, layers go along.",
)
@click.argument("source", metavar="SCENE", type=click.Path(path_type=Path))
@click.argument("folder", required=False, type=click.Path(path_type=Path))
def export(
    to: str, options: dict[str, Any], out: Path | None, beside: Path | None, source: Path, folder: Path | None
) -> None:
    """Write SCENE to FOLDER (or --out) as the official code of a method, or the next step of a pipeline, reads it.

    SCENE is a scene, a folder of any layout that is read, or, for a pipeline, the folder of a result.
    """
    target = out or folder
    if target is None or (out and folder):
        raise InputError("Give the folder to write once: as --out, or after the scene.")
    if to in load_registry().methods.names() or to not in _written_layouts():
        if beside is not None:
            raise InputError("--scene goes with the layouts of pipelines; a method's official layout takes a scene.")
        _export_official(to, options, source, target)
    else:
        _export_layout(to, options, source, target, beside)
    echo(f"Wrote {target}.")


def _written_layouts() -> tuple[str, ...]:
    return tuple(record.name for record in load_registry().importers if record.writer)


def _export_official(method: str, options: dict[str, Any], source: Path, folder: Path) -> None:
    """Write a scene in a method's official layout and print its notes."""
    from refbench.scenes.scene_yaml import load_scene

    if method not in load_registry().methods.names():
        layouts = ", ".join(_written_layouts())
        raise InputError(f"There is no method or layout {method}; layouts: {layouts}; methods: refbench methods.")
    with official_files(method) as files:
        check_official_options(f"scene export of {method}", options, files.export_options)
        check_new(folder)
        scene = load_scene(source)
        with folder_in_place(folder):  # official files name it
            notes = files.export_scene(scene, folder, options)
    for key, value in notes.items():
        echo(f"{key}: {value}")


def _export_layout(layout: str, options: dict[str, Any], source: Path, folder: Path, beside: Path | None) -> None:
    """Write a scene or the DSM of a result in the layout of a pipeline and print what has no place in it."""
    from refbench.engine.inputs.result_scene import scene_or_result
    from refbench.registry.records import resolve

    check_official_options(f"scene export of {layout}", options, {})
    check_new(folder)
    scene = scene_or_result(source, beside)
    with folder_in_place(folder):  # the images of s2p are named relative to it
        notes = resolve(load_registry().importers.get(layout).writer)(scene, folder)
    for note in notes:
        echo(note)


@command.command("from-images")
@click.argument("more", nargs=-1, metavar="[IMAGE]...", type=RasterPath())
@click.option(
    "--images",
    multiple=True,
    required=True,
    metavar="IMAGE...",
    type=RasterPath(),
    help="Two or more satellite images with RPC.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the scene; a new one.")
@click.option(
    "--gsd", type=click.FloatRange(min=0, min_open=True), help="Pixel size (m) of the DSM; default: the images'."
)
@click.option("--like", type=RasterPath(), help="A raster whose grid the DSM takes.")
@click.option("--reference", type=RasterPath(), help="Reference DSM of the scene; its grid is taken.")
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
