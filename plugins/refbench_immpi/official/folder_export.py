"""A scene's pinhole views as a folder that the official code reads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench_immpi.official.camera_text import write_camera_text
from refbench_immpi.official.folders import CAMERAS, DEPTHS, IMAGES, WHU_DEPTH_UNIT
from refbench_immpi.official.view_split import NAME, write_split
from refbench_immpi.views.posed import posed_views

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import Scene

MARGIN = 0.05


def export_scene(
    scene: Scene, folder: Path, layout: Literal["levir", "whu"] = "levir", name: str | None = None
) -> dict[str, Any]:
    """Write a scene's pinhole views below ``folder``/``name`` and, as LEVIR-NVS has it, ``view_split.txt``.

    Views are numbered in the order of their names; ``names.txt`` keeps these. Depths come from the scene's views or
    its reference, where there are any. Camera coordinates keep their origin relative to the first camera's, since the
    official code computes in float32.

    Parameters
    ----------
    scene
        With two pinhole views of one size or more.
    folder
        The data set's folder; a scene folder that is there is refused.
    layout
        ``levir``: commas and TIFF depths; ``whu``: blanks and 16-bit PNG depths of 1/64 m.
    name
        Of the scene's folder; default: ``scene_000``.

    Raises
    ------
    InputError
        Views of different sizes; a folder that is there.
    """
    views = posed_views(scene, MARGIN)
    if len({view.shape for view in views}) > 1:
        raise InputError(f"Scene {scene.id}: its views differ in size; ImMPI's folders hold views of one size.")
    target = folder / (name or "scene_000")
    if target.exists():
        raise InputError(f"{target} is there already; give another folder.")
    for part in (IMAGES, CAMERAS, DEPTHS):
        (target / part).mkdir(parents=True)
    origin = views[0].camera.centre
    depths = 0
    for number, view in enumerate(views):
        stem = f"{number:03d}"
        levels = np.rint(np.clip(view.image, 0, 1) * 255).astype(np.uint8)
        _write_image(target / IMAGES / f"{stem}.png", np.moveaxis(levels, 0, -1)[..., ::-1])
        moved = replace(view.camera, t=view.E[:3, 3] + view.E[:3, :3] @ origin)
        separator = "," if layout == "levir" else " "
        write_camera_text(target / CAMERAS / f"{stem}.txt", moved, view.near, view.far, separator=separator)
        depths += _write_depth(target / DEPTHS / stem, _depth(scene, view.name), layout)
    names = "".join(f"{number:03d} {view.name}\n" for number, view in enumerate(views))
    with atomic_file(target / "names.txt") as file:
        file.write(names.encode())
    if layout == "levir":
        write_split(folder / NAME, range(1, len(views), 2), range(2, len(views), 2))
    return {"views": len(views), "depths": depths, "origin": [float(value) for value in origin], "folder": str(target)}


def _depth(scene: Scene, name: str) -> NDArray[np.float32] | None:
    held = scene.views[name].depth
    if held is None and scene.reference is not None:
        held = scene.reference.depths.get(name)
    return None if held is None else held.read().pixels[0].astype(np.float32)


def _write_depth(path: Path, depth: NDArray[np.float32] | None, layout: str) -> int:
    if depth is None:
        return 0
    known = np.nan_to_num(depth)
    if layout == "levir":
        _write_image(path.with_suffix(".tiff"), known)
    else:
        _write_image(path.with_suffix(".png"), np.rint(known * WHU_DEPTH_UNIT).astype(np.uint16))
    return 1


def _write_image(path: Path, pixels: NDArray[Any]) -> None:
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(pixels))
    if not done:
        raise InputError(f"{path} cannot be written.")
    with atomic_file(path) as file:
        file.write(data.tobytes())
