"""Official folders: ``transforms.json``, colours, depths, COLMAP points (docs/methods/diffrender.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from refbench.contracts.errors import InputError, MissingFileError
from refbench.files.json_text import parse_json
from refbench_diffrender.views.depth_png import read_codes
from refbench_diffrender.views.gl_cameras import Intrinsics, find_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.scenes.importers.colmap_model import ColmapModel

FILE = "transforms.json"
NUMBERS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x")
COLOUR = "color"
SIZE_SLACK = 2.0
"""Pixels by which an image may miss the proportions of the intrinsics: sizes are rounded."""
FOCAL_RATIO = 1.25
"""By which focal length and opening angle may contradict each other."""


@dataclass(frozen=True, slots=True, eq=False)
class ViewFolder:
    """``names`` are files relative to ``path``; ``camera_to_world`` float64 [N, 4, 4]; one pinhole for all."""

    path: Path
    names: tuple[str, ...]
    camera_to_world: NDArray[np.float64]
    intrinsics: Intrinsics

    def image(self, view: int) -> NDArray[np.float32]:
        """Read a view's image, float32 [rows, cols, 3] in [0, 1].

        Raises
        ------
        MissingFileError
            It is not there.
        """
        path, at = self.path / self.names[view], self.intrinsics
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise MissingFileError(f"{path} is missing or no image; {self.path / FILE} names it.")
        rows, cols = pixels.shape[:2]
        if abs(cols - rows * at.width / at.height) > SIZE_SLACK:
            raise InputError(
                f"{path} has {cols} x {rows} pixels, which is no size of the {at.width} x {at.height} in "
                f"{self.path / FILE}: give w, h, focal lengths and principal point of these images."
            )
        return np.ascontiguousarray(pixels[..., ::-1]).astype(np.float32) / np.float32(255)

    def codes(self, view: int, folder: str) -> NDArray[np.uint16] | None:
        """Read a view's 16-bit depth image from the folder beside the colours; None where there is none.

        Uint16 [rows, cols], in the file's unit of depth.

        Raises
        ------
        InputError
            The image lies in no folder of colours; the depth image has not one band of 16 bits.
        """
        path = self.depth_path(view, folder)
        if path is None:
            raise InputError(
                f"{self.path / FILE}: file_path {self.names[view]} does not contain {COLOUR!r}, which {folder} would "
                "take the place of: put the images into such a folder."
            )
        return read_codes(path) if path.is_file() else None

    def depth_path(self, view: int, folder: str) -> Path | None:
        """Return where a view's depth image lies in ``folder``; None where its image is in no folder of colours."""
        if COLOUR not in self.names[view]:
            return None
        return (self.path / self.names[view].replace(COLOUR, folder)).with_suffix(".png")


def read_view_folder(path: Path) -> ViewFolder:
    """Read ``transforms.json`` of a folder.

    Raises
    ------
    MissingFileError
        There is none.
    InputError
        A key is missing, a matrix is not 4 x 4, there is no frame.
    """
    file = path / FILE
    if not file.is_file():
        raise MissingFileError(f"{path} holds no {FILE}.")
    try:
        content = parse_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is no JSON: {error}.") from error
    if missing := [key for key in (*NUMBERS, "frames") if key not in content]:
        raise InputError(f"{file} lacks the key {missing[0]}.")
    values = {key: _number(file, key, content[key]) for key in NUMBERS}
    _check_intrinsics(file, values)
    frames = content["frames"]
    if not isinstance(frames, list) or not frames:
        raise InputError(f"{file}: frames must be a list of one view or more.")
    poses = [_pose(file, number, frame) for number, frame in enumerate(frames)]
    names = tuple(str(frame.get("file_path", "")) for frame in frames)
    intrinsics = Intrinsics(
        values["fl_x"], values["fl_y"], values["cx"], values["cy"], int(values["w"]), int(values["h"])
    )
    return ViewFolder(path, names, np.stack(poses), intrinsics)


def view_names(folder: ViewFolder) -> tuple[str, ...]:
    """Return a name for each view that can be part of a file's name: the stem, where two share it the whole path."""
    paths = [Path(name) for name in folder.names]
    stems = [path.stem for path in paths]
    return tuple(
        stem if stems.count(stem) == 1 else "_".join(path.with_suffix("").parts)
        for stem, path in zip(stems, paths, strict=True)
    )


def find_folder_view(folder: ViewFolder, wanted: str) -> int:
    """Return the place of the view that a configuration names: by its exact name, else by the published rule.

    Raises
    ------
    InputError
        No view, or several, fit.
    """
    try:
        return find_view(folder.names, wanted)
    except InputError:
        return find_view(folder.names, wanted, compat=True)


def _check_intrinsics(file: Path, values: dict[str, float]) -> None:
    if missing := [key for key in ("fl_x", "fl_y", "w", "h", "camera_angle_x") if values[key] <= 0]:
        raise InputError(f"{file}: {missing[0]} must be positive, got {values[missing[0]]:g}.")
    meant = values["w"] / 2 / math.tan(min(values["camera_angle_x"], 3.1) / 2)
    if not 1 / FOCAL_RATIO < values["fl_x"] / meant < FOCAL_RATIO:
        raise InputError(
            f"{file}: fl_x {values['fl_x']:g} does not belong to w {values['w']:g}, for which camera_angle_x makes it "
            f"{meant:.4g}: give both for the same image size."
        )


def _number(file: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{file}: {key} must be a number, got {value!r}.")
    return float(value)


def _pose(file: Path, number: int, frame: Any) -> NDArray[np.float64]:  # noqa: ANN401  # JSON
    matrix = frame.get("transform_matrix") if isinstance(frame, dict) else None
    try:
        found = np.array(matrix, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (4, 4) or not np.isfinite(found).all():
        raise InputError(f"{file}: frames[{number}].transform_matrix is not a matrix of 4 x 4 numbers.")
    return found


@dataclass(frozen=True, slots=True, eq=False)
class SeenPoints:
    """Sparse points of a view: ``xyz`` [N, 4] in view space (OpenGL axes), ``places`` [N, 2] in [-1, 1]; ``rgb`` of all
    that lie in the image, those too near among them.
    """

    xyz: NDArray[np.float64]
    places: NDArray[np.float64]
    rgb: NDArray[np.uint8]


def seen_points(
    model: ColmapModel, name: str, model_view: NDArray[np.float64], near: float, *, compat: bool = False
) -> SeenPoints:
    """Return the points that a view observed, see ``SeenPoints``.

    ``model_view`` takes the model's frame to the view (no turned world). ``compat``: the last image whose name holds
    the view's stem, as published; else the one of that stem.
    ``model_view`` is [4, 4]; ``near`` is in the model's units.

    Raises
    ------
    InputError
        The model has no such image.
    """
    stem = Path(name).stem
    fitting = [
        image for image in model.images.values() if (stem in image.name if compat else Path(image.name).stem == stem)
    ]
    if not fitting:
        raise InputError(f"The COLMAP model has no image of the view {name}.")
    if not compat and len(fitting) > 1:
        exact = [image for image in fitting if image.name == name or name.endswith(f"/{image.name}")]
        if len(exact) != 1:
            raise InputError(
                f"The COLMAP model has {len(fitting)} images of the name {stem}, such as {fitting[0].name} and "
                f"{fitting[1].name}: none or several are the view {name}. Give images of different names."
            )
        fitting = exact
    image = fitting[-1]
    camera = model.cameras[image.camera]
    order = {int(number): place for place, number in enumerate(model.point_ids)}
    uv = image.points2d + 0.5
    inside = (uv >= 0).all(1) & (uv[:, 0] <= camera.width) & (uv[:, 1] <= camera.height)
    kept = [n for n, track in enumerate(image.tracks) if inside[n] and int(track) in order]
    at = np.array([order[int(image.tracks[n])] for n in kept], np.int64)
    uv = uv[np.array(kept, np.int64)] if kept else np.zeros((0, 2))
    world = np.concatenate([model.xyz[at], np.ones((len(at), 1))], axis=1)
    view = world @ model_view.T
    deep = -view[:, 2] > 2 * near
    places = np.stack([2 * uv[:, 0] / camera.width - 1, 2 * uv[:, 1] / camera.height - 1], axis=1)
    return SeenPoints(view[deep], places[deep], model.rgb[at])


def sampled_points(
    depth: NDArray[np.float64],
    intrinsics: Intrinsics,
    image: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    number: int,
    outliers: float,
    noise: float,
) -> SeenPoints:
    """Return points drawn from a depth map [rows, cols] in metres (0: unknown), as a sparse model might have them.

    Parameters
    ----------
    depth, image
        Of the same view, sizes of their own.
    intrinsics
        Of any size of the view.
    rng
        Draws pixels, depth errors and outliers.
    number
        How many points; fewer where fewer depths are known.
    outliers
        Fraction of points whose depth is drawn evenly between the nearest and the farthest one.
    noise
        Standard deviation of the other depths in metres.
    """
    rows, cols = depth.shape
    known = np.flatnonzero(depth > 0)
    chosen = rng.choice(known, min(number, known.size), replace=False)
    z = depth.ravel()[chosen]
    wrong = rng.random(len(z)) < outliers
    z = z + rng.normal(0, noise, len(z))
    if known.size:
        z[wrong] = rng.uniform(depth.ravel()[known].min(), depth.max(), int(wrong.sum()))
    u, v = chosen % cols + 0.5, chosen // cols + 0.5
    at = intrinsics.scaled(cols, rows)
    xyz = np.stack([(u - at.cx) * z / at.fx, -(v - at.cy) * z / at.fy, -z, np.ones_like(z)], axis=1)
    places = np.stack([2 * u / cols - 1, 2 * v / rows - 1], axis=1)
    down, across = ((w * side).astype(np.int64) for w, side in zip((v / rows, u / cols), image.shape, strict=False))
    return SeenPoints(xyz, places, np.rint(255 * image[down, across]).astype(np.uint8))
