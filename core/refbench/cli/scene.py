"""``refbench scene``: scenes in the layouts of other systems."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from refbench.cli.official import check_official_options, official_files
from refbench.cli.options import official_option
from refbench.contracts.errors import InputError
from refbench.reporting.terminal import echo


@click.group()
def command() -> None:
    """Convert scenes to the layouts of other systems."""


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
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} is there and not empty; give a new folder.")
        loaded = load_scene(scene)
        try:
            notes = files.export_scene(loaded, folder, options)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    for key, value in notes.items():
        echo(f"{key}: {value}")
    echo(f"Wrote {folder}.")
