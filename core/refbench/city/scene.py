"""A city as a scene: in memory, or as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from refbench.contracts.errors import InputError
from refbench.contracts.raster import Image
from refbench.contracts.scene import Reference, Scene, View
from refbench.files.new_folder import check_new, new_folder
from refbench.files.out_guard import CONTENTS_FILE, foreign_names, is_there, write_contents
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench.scenes.scene_yaml import write_scene

if TYPE_CHECKING:
    from refbench.city.make import City


def city_scene(city: City) -> Scene:
    """Return the city as a scene in memory; the true depths of the aerial views are part of the reference."""
    photos = {**{f"sat_{p.name}": p for p in city.satellites}, **{p.name: p for p in city.aerials}}
    depths = {p.name: ArraySource(Image(p.depth[None])) for p in city.aerials if p.depth is not None}
    return Scene(
        id=f"city-{city.seed:04d}",
        grid=city.grid,
        dsm=ArraySource(city.initial),
        points=HeldPoints(city.points),
        orthos={name: ArraySource(ortho) for name, ortho in city.orthos.items()},
        pairs=(tuple(city.orthos),),
        ndvi=ArraySource(city.ndvi),
        views={name: View(name, ArraySource(p.image), p.camera) for name, p in photos.items()},
        masks={name: ArraySource(mask) for name, mask in city.masks.items()},
        reference=Reference(ArraySource(city.reference), None, depths),
        origin=(*city.grid.origin, 0.0),
        vertical=city.grid.vertical,
    )


def input_statistics(city: City) -> dict[str, float]:
    """Return how far the initial DSM is from the reference: fraction of valid pixels, and metres.

    NMAD, RMSE and the 95th percentile of the absolute error are taken after removal of the median; MAE is not.
    """
    valid = city.initial.valid & city.reference.valid
    error = (city.initial.heights - city.reference.heights)[valid].astype(np.float64)
    median = float(np.median(error))
    centred = np.abs(error - median)
    figures = {
        "valid": float(valid.mean()),
        "median": median,
        "nmad": 1.4826 * float(np.median(centred)),
        "rmse": float(np.sqrt((centred**2).mean())),
        "p95": float(np.quantile(centred, 0.95)),
        "mae": float(np.abs(error).mean()),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def write_city(city: City, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a city as a scene folder, whole or not at all, and return the path of its ``scene.yaml``.

    ``notes.yaml`` beside it tells seed, sun, what was built, the residual of the RPCs and the error of the initial DSM.

    Raises
    ------
    InputError
        The folder is there and not empty (without ``overwrite``), or cannot be written.
    """
    folder = Path(folder)
    with new_folder(folder, lambda: check_free(folder, overwrite)) as partial:
        write_scene(partial, city_scene(city))
        notes: dict[str, Any] = {**city.notes, "input_error_m": input_statistics(city)}
        (partial / "notes.yaml").write_text(yaml.safe_dump(notes, sort_keys=False), encoding="utf-8")
        write_contents(partial)
    return folder / "scene.yaml"


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something, unless it is a city, nothing else, and may be overwritten.

    Raises
    ------
    InputError
        It is a file, or holds something that is not replaced.
    """
    if not overwrite or not is_there(folder) or not folder.is_dir() or not any(folder.iterdir()):
        try:
            check_new(folder)
        except InputError as error:
            hint = ", or --overwrite to replace a city" if folder.is_dir() else ""
            raise InputError(f"{str(error).removesuffix('.')}{hint}.") from None
        return
    if not ((folder / "scene.yaml").is_file() and (folder / CONTENTS_FILE).is_file()):
        raise InputError(f"{folder} holds something else than a city of refbench, which --overwrite does not replace.")
    if foreign := foreign_names(folder):
        raise InputError(
            f"{folder} holds files that are not of its city, such as {foreign[0]}, which --overwrite would delete; "
            "move them or give another folder."
        )
