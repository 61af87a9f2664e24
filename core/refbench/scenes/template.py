"""A commented ``scene.yaml`` for files that are there, to be completed by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench.files.yaml_text import yaml_value
from refbench.scenes.from_files import ORTHO_NAMES, scene_from_files
from refbench.scenes.scene_yaml import SCENE_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.scene import Scene

_COMMENTS = {
    "id": "Name of the scene in results.",
    "crs": "CRS of files that do not say it, such as EPSG:32632.",
    "target_crs": "CRS in metres that everything is brought to; own: that of a DSM in feet, counted in metres.",
    "vertical": "Vertical datum: ellipsoid, an EPSG code, or unknown.",
    "height_unit": "Unit of the heights: metre, foot or us_survey_foot.",
    "nodata": "NoData code of heights that the files do not declare, such as -32768.",
    "gsd": "Pixel (m) of the grid over the points where no raster defines one.",
    "dsm": "The initial DSM.",
    "points": "Point cloud: LAS, LAZ, PLY or NPZ.",
    "keep_noise": "Whether points that the file classifies as noise are kept.",
    "orthos": "Ortho images by name.",
    "pairs": "Names of orthos that belong together.",
    "ndvi": "NDVI in [-1, 1].",
    "views": "Images in their own pixels; camera is a YAML file where the image brings no RPC.",
    "masks": "Class masks by name: 1 class, 0 other, 255 unknown.",
    "layers": "What is known of the initial heights: sigma is their standard deviation (m).",
    "reference": "The reference: used for scoring and training only.",
}
_EXAMPLES = {
    "crs": "EPSG:32632",
    "target_crs": "EPSG:32633",
    "vertical": "unknown",
    "height_unit": "metre",
    "nodata": "-32768",
    "gsd": "0.5",
    "dsm": "dsm.tif",
    "points": "points.laz",
    "keep_noise": "false",
    "orthos": "{a: ortho_a.tif, b: ortho_b.tif}",
    "pairs": "[[a, b]]",
    "ndvi": "ndvi.tif",
    "views": "{left: {image: left.tif, camera: left.yaml}}",
    "masks": "{building: building.tif}",
    "layers": "{sigma: sigma.tif}",
    "reference": "{dsm: reference.tif}",
}


def write_template(folder: Path, files: Mapping[str, Any]) -> Path:
    """Write ``scene.yaml`` into ``folder`` for files that ``scene_from_files`` takes, and return its path.

    Every key is there with a comment: those of the files with their value, the others as comments with an example.

    Raises
    ------
    InputError
        The files make no scene, the folder holds a scene file already, or cannot be written.
    """
    target = folder / SCENE_FILE
    if target.exists():
        raise InputError(f"{target} exists; give another folder, or edit it.")
    scene = scene_from_files(**files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot make the folder {folder}: {error.strerror}.") from error
    with atomic_file(target) as file:
        file.write(_text(scene, _values(scene, files, folder)).encode())
    return target


def _values(scene: Scene, files: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return key -> value of what the files say, paths relative to the folder."""

    def relative(path: str | Path) -> str:
        return Path(os.path.relpath(Path(path).absolute(), folder.absolute())).as_posix()

    values: dict[str, Any] = {"id": scene.id}
    values |= {key: files[key] for key in ("crs", "vertical", "height_unit", "gsd") if files.get(key) is not None}
    if files.get("keep_noise"):
        values["keep_noise"] = True
    if files.get("nodata_in") is not None:
        values["nodata"] = files["nodata_in"]
    values |= {key: relative(files[key]) for key in ("dsm", "ndvi") if files.get(key) is not None}
    if (points := files.get("points")) is not None:
        values["points"] = relative(points) if isinstance(points, str | Path) else [relative(one) for one in points]
    if orthos := files.get("orthos"):
        values["orthos"] = {name: relative(path) for name, path in zip(ORTHO_NAMES, orthos, strict=False)}
        if len(orthos) > 1:
            values["pairs"] = [list(ORTHO_NAMES[:2])]
    if views := files.get("views"):
        values["views"] = {Path(path).stem: {"image": relative(path)} for path in views}
    if masks := files.get("masks"):
        values["masks"] = {name: relative(path) for name, path in masks.items()}
    if files.get("reference") is not None:
        values["reference"] = {"dsm": relative(files["reference"])}
    return values


def _text(scene: Scene, values: Mapping[str, Any]) -> str:
    lines = [f"# Scene for refbench: {scene.grid!r}", "# Paths are relative to this file.", "refbench_scene: 1"]
    for key, comment in _COMMENTS.items():
        lines += ["", f"# {comment}"]
        lines.append(f"{key}: {yaml_value(values[key])}" if key in values else f"# {key}: {_EXAMPLES[key]}")
    return "\n".join(lines) + "\n"
