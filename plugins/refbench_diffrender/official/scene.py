"""The folder of views that an official configuration names, as a scene; and how such a scene is known again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from refbench import Image, Scene, View
from refbench.contracts.errors import ConfigError, InputError
from refbench.contracts.scene import Reference
from refbench.formats.raster import open_image
from refbench.geometry.cameras import Pinhole
from refbench_diffrender.official.config import read_official
from refbench_diffrender.official.view_folder import FILE, find_folder_view, read_view_folder, view_names
from refbench_diffrender.views.depth_png import depths_of, read_codes
from refbench_diffrender.views.gl_cameras import model_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.grid import Window
    from refbench.contracts.source import RasterSource
    from refbench_diffrender.official.config import OfficialConfig
    from refbench_diffrender.official.view_folder import ViewFolder

ABSOLUTE = ("absolute", "offset_scale")
"""Values of ``init_depth_mode`` under which the codes of an initial depth map are metres."""


class CodedDepth:
    """A depth map of 16-bit codes as a source: metres, NaN where the code is 0. It has no grid."""

    def __init__(self, path: Path, unit: float) -> None:
        """Take the file and the metres of a code; nothing is read."""
        self._path, self._unit = path, unit

    @property
    def grid(self) -> None:
        """None: depth maps lie in their camera's pixels."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols), by the head of the file."""
        return open_image(self._path, in_camera=True).shape

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, for hashing."""
        return (self._path,)

    def read(self, window: Window | None = None) -> Image:
        """Return the whole map, float32 [1, rows, cols] in metres.

        Raises
        ------
        ValueError
            A window is asked for.
        """
        if window is not None:
            raise ValueError("depth maps are read as a whole")
        codes = read_codes(self._path)
        known = codes > 0
        metres = np.where(known, depths_of(codes, self._unit), np.float32(np.nan))
        return Image(metres[None], None, ("depth",), known)


def official_scene(official: OfficialConfig) -> Scene:
    """Return the views of the folder that a configuration names, in the frame of its poses; the scene has no grid.

    Its name is that of the view to refine, ``<folder>-<view>``. Initial depth maps are there where their codes are
    metres, reference depths where the configuration names some.

    Raises
    ------
    InputError
        No folder or view is named; an image is missing, ``transforms.json`` is missing or broken.
    """
    folder = _folder_of(official)
    views = read_view_folder(folder)
    number = find_folder_view(views, str(official.values["view_name"]))
    names = view_names(views)
    metric = official.values["init_depth_mode"] in ABSOLUTE
    initial = _depths(views, official, "init_depth_dir") if metric else {}
    reference = _depths(views, official, "init_ref_depth_dir") if official.is_available("init_ref_depth_dir") else {}
    found = {}
    for place, name in enumerate(names):
        image = open_image(folder / views.names[place], in_camera=True)
        camera = _camera(views, place, image.shape, flip=bool(official.values["cam_use_flip_mat"]))
        found[name] = View(name, image, camera, initial.get(name))
    return Scene(
        id=_scene_id(folder, names[number]),
        views=found,
        reference=Reference(depths={names[number]: reference[names[number]]}) if names[number] in reference else None,
        folder=folder,
    )


def is_own_scene(scene: Scene, path: str) -> bool:
    """Return whether ``scene`` is the one that the official configuration at ``path`` names."""
    official = read_official(Path(path))
    folder = _folder_of(official)
    if scene.folder != folder or not (folder / FILE).is_file():
        return False
    views = read_view_folder(folder)
    return scene.id == _scene_id(folder, view_names(views)[find_folder_view(views, str(official.values["view_name"]))])


def _scene_id(folder: Path, view: str) -> str:
    return f"{folder.name}-{view}"


def _folder_of(official: OfficialConfig) -> Path:
    path = official.folder("input_dir")
    if path is None or not official.values["view_name"]:
        raise ConfigError(f"{official.path}: give input_dir (the folder with transforms.json) and view_name.")
    return path.resolve()


def _camera(views: ViewFolder, place: int, shape: tuple[int, int], *, flip: bool) -> Pinhole:
    """Return a view's camera for its image of ``shape`` [rows, cols], in OpenCV's axes and with pixel centres."""
    pose = views.camera_to_world[place]
    # The model-view matrix has OpenGL's axes (y up, looking along -z): turning y and z makes it OpenCV's.
    matrix = np.diag([1.0, -1.0, -1.0, 1.0]) @ model_view(pose, flip=flip, turn=False)
    try:
        R = Rotation.from_matrix(matrix[:3, :3]).as_matrix()  # poses of six digits are made rotations again
    except ValueError as error:
        raise InputError(f"{views.path / FILE}: the pose of {views.names[place]} is no rotation: {error}.") from error
    at = views.intrinsics.scaled(shape[1], shape[0])
    K = np.array([[at.fx, 0, at.cx - 0.5], [0, at.fy, at.cy - 0.5], [0, 0, 1.0]])
    return Pinhole(K, R, -R @ pose[:3, 3], at.width, at.height)


def _depths(views: ViewFolder, official: OfficialConfig, key: str) -> Mapping[str, RasterSource[Image]]:
    """Return name -> depth map of the views that have one in the folder that a key names."""
    unit = float(official.values["depth_image_depth_scale"])
    paths = [views.depth_path(place, str(official.values[key])) for place in range(len(views.names))]
    named = zip(view_names(views), paths, strict=True)
    return {name: CodedDepth(path, unit) for name, path in named if path is not None and path.is_file()}
