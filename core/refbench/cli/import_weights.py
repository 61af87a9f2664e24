"""``refbench import-weights``: official weights become a weights folder; the method's plugin does the reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from refbench.cli.official import check_official_options, official_files
from refbench.cli.options import method_option, official_option
from refbench.contracts.errors import InputError, MissingFileError
from refbench.engine.inputs.weights import user_weights_folder
from refbench.reporting.terminal import echo
from refbench.weights.weights_folder import check_weights_target, is_weights_folder


@click.command()
@method_option
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder to write; by default one named like SOURCE among your weights.",
)
@click.option("--overwrite", is_flag=True, help="Replace weights that are there.")
@official_option
def command(method: str, source: Path, out: Path | None, overwrite: bool, options: dict[str, Any]) -> None:
    """Turn the official checkpoint SOURCE into a weights folder. Nothing in it is executed."""
    with official_files(method) as files:
        check_official_options(f"import-weights of {method}", options, files.import_options)
        if not source.exists():
            raise MissingFileError(f"There is no checkpoint {source}.")
        folder = out if out is not None else user_weights_folder() / method / source.stem
        check_weights_target(folder)
        if is_weights_folder(folder) and not overwrite:
            raise InputError(f"{folder} already holds weights; give another folder with --out, or --overwrite.")
        notes = files.import_weights(source, folder, options)
    for key, value in notes.items():
        echo(f"{key}: {value}")
    echo(f"Wrote {folder}. Use it with: refbench run --method {method} --weights {folder if out else source.stem}")
