"""Folders of LEVIR-NVS and WHU-MVS: one scene with images, cameras, depths, a track (docs/methods/immpi.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from refbench import Image, Scene, View
from refbench.contracts.errors import InputError, MissingFileError
from refbench.contracts.scene import Reference
from refbench.formats.raster import ArraySource, open_image
from refbench_immpi.official.camera_text import CameraText, read_camera_text
from refbench_immpi.views.posed import Posed

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGES, CAMERAS, DEPTHS, TRACK = "Images", "Cams", "Depths", "Track"
WHU_DEPTH_UNIT = 64.0
"""Levels of a metre in the depth images of WHU-MVS."""


@dataclass(frozen=True, slots=True)
class SceneFolder:
    """``path`` holds Images, Cams and perhaps Depths and Track."""

    path: Path

    @property
    def name(self) -> str:
        """The scene's name."""
        return self.path.name

    def views(self) -> tuple[str, ...]:
        """Return the names of the views, ascending.

        Raises
        ------
        MissingFileError
            There are none.
        """
        found = sorted(path.stem for path in (self.path / IMAGES).glob("*.png"))
        if not found:
            raise MissingFileError(f"{self.path / IMAGES} holds no images 000.png, 001.png, ...")
        return tuple(found)

    def camera(self, view: str, *, needs_range: bool = False) -> CameraText:
        """Read a view's camera."""
        return read_camera_text(self.path / CAMERAS / f"{view}.txt", needs_range=needs_range)

    def image(self, view: str) -> NDArray[np.float32]:
        """Read a view's image, float32 [3, rows, cols] in [0, 1].

        Raises
        ------
        InputError
            Missing, or no image of 8 bits and three colours.
        """
        path = self.path / IMAGES / f"{view}.png"
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise InputError(f"{path} is missing or no image.")
        return np.ascontiguousarray(np.moveaxis(pixels[..., ::-1], -1, 0)).astype(np.float32) / np.float32(255)

    def depth(self, view: str) -> NDArray[np.float32] | None:
        """Read a view's depths [rows, cols] in scene units: a TIFF as it is, a 16-bit PNG by its unit; None without."""
        tiff, png = (self.path / DEPTHS / f"{view}{suffix}" for suffix in (".tiff", ".png"))
        path, unit = (tiff, 1.0) if tiff.is_file() else (png, WHU_DEPTH_UNIT)
        if not path.is_file():
            return None
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is None or values.ndim != 2:
            raise InputError(f"{path} is no image of depths with one band.")
        return np.asarray(values.astype(np.float32) / np.float32(unit), np.float32)

    def track(self) -> list[CameraText]:
        """Return the cameras of the track, ascending; empty without one."""
        return [read_camera_text(path, needs_range=False) for path in sorted((self.path / TRACK).glob("*.txt"))]

    def posed(self, view: str, *, reference: bool = False) -> Posed:
        """Return a view with its camera as the file has it; a reference needs its range of depths.

        Raises
        ------
        InputError
            As the readers.
        """
        camera = self.camera(view, needs_range=reference)
        near, far = (camera.near or 0.0, camera.far or 0.0)
        K, E = camera.K.astype(np.float64), camera.E.astype(np.float64)
        return Posed(view, self.image(view), K, E, near, far)


def is_scene_folder(path: Path) -> bool:
    """Return whether a folder looks like one scene of LEVIR-NVS or WHU-MVS, by its names alone."""
    return (path / IMAGES).is_dir() and (path / CAMERAS).is_dir()


def is_data_folder(path: Path) -> bool:
    """Return whether a folder is such a scene, or holds exactly one."""
    return path.is_dir() and (is_scene_folder(path) or len(_scenes(path)) == 1)


def _scenes(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and is_scene_folder(child))


def open_scene_folder(path: Path) -> Scene:
    """Open one scene as the core's: pinhole views with their ranges of depths; what depths there are is reference.

    Raises
    ------
    InputError
        A broken camera, a missing image, views of different sizes.
    """
    found = path if is_scene_folder(path) else _scenes(path)[0]
    folder = SceneFolder(found)
    views: dict[str, View] = {}
    depths: dict[str, Any] = {}
    shape: tuple[int, int] | None = None
    for name in folder.views():
        source = open_image(found / IMAGES / f"{name}.png", in_camera=True)
        rows, cols = source.shape
        if shape is not None and (rows, cols) != shape:
            raise InputError(
                f"{found}: view {name} has {rows} x {cols} pixels, others have {shape[0]} x {shape[1]}; all views of a "
                "scene have one size."
            )
        shape = rows, cols
        text = folder.camera(name, needs_range=True)
        assert text.near is not None and text.far is not None  # it was asked for
        views[name] = View(name, source, text.camera(cols, rows), depth_range=(text.near, text.far))
        depth = folder.depth(name)
        if depth is not None:
            known = depth > 0
            depths[name] = ArraySource(
                Image(np.where(known, depth, np.nan)[None].astype(np.float32), None, ("depth",), known)
            )
    return Scene(id=found.name, views=views, reference=Reference(depths=depths) if depths else None, folder=found)
