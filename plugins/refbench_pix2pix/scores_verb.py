"""``refbench pix2pix-scores``: the scores that the official notebook prints, of masks on disk."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--found", type=click.Path(path_type=Path), help="Masks that were found; default: FOLDER/esfp_outputs.")
@click.option(
    "--reference", type=click.Path(path_type=Path), help="Reference masks; default: FOLDER/building_footprints."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(folder: Path, found: Path | None, reference: Path | None, as_json: bool) -> None:
    """Score the building masks of tiles against reference masks, means over tiles, beside the published numbers.

    FOLDER is a checkout of the official data. A verdict is given for the 13 tiles of the official notebook only; for
    others it reads "data unavailable".
    """
    from refbench.evaluation.reported import Verdict, scored
    from refbench_pix2pix.footprints.mask_tiles import FOUND_FOLDER, REFERENCE_FOLDER, score_folders
    from refbench_pix2pix.footprints.published import NOTEBOOK_SCORES, TILE_NAMES

    scores, names = score_folders(found or folder / FOUND_FOLDER, reference or folder / REFERENCE_FOLDER)
    is_notebook = set(names) == TILE_NAMES
    rows = [
        {
            "score": key,
            "published": value,
            "measured": scores[key],
            "verdict": (scored(value, [scores[key]]) if is_notebook else Verdict.DATA_UNAVAILABLE).value,
        }
        for key, value in NOTEBOOK_SCORES.items()
    ]
    if as_json:
        click.echo(json.dumps({"tiles": len(names), "scores": rows}, indent=2))
        return
    for row in rows:
        numbers = f"published {row['published']:.6f}  measured {row['measured']:.6f}"
        click.echo(f"{row['score']:8} {numbers}  {row['verdict']}")
    if not is_notebook:
        click.echo(f"{len(names)} tiles, not the 13 of the notebook: its numbers say nothing about them.")
