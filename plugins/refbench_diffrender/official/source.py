"""What an official configuration names for its view: folder, matrices, sparse points, depth maps, normals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench.scenes.importers.colmap_model import read_model
from refbench_diffrender.official.view_folder import SeenPoints, read_view_folder, sampled_points, seen_points
from refbench_diffrender.views.depth_png import fractions_of_codes, normals_of_codes, read_codes
from refbench_diffrender.views.gl_cameras import find_view, model_view
from refbench_diffrender.views.image_sampling import resize_map
from refbench_diffrender.views.view_image import ReferenceNormals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench_diffrender.config import DiffrenderConfig
    from refbench_diffrender.official.config import OfficialConfig
    from refbench_diffrender.official.view_folder import ViewFolder
    from refbench_diffrender.views.gl_cameras import Intrinsics

SYNTHETIC = "from_ref_dm"
"""The end of ``input_colmap_sparse`` that asks for points out of the reference depth map."""
PUBLISHED_SUFFIX = ".JPG"


@dataclass(frozen=True, slots=True, eq=False)
class OfficialSource:
    """The view's surroundings: ``number`` among the folder's views, ``planes`` near and far, working ``shape``.

    ``reference``: metres float64 [rows, cols] of its own size, 0 unknown; None where there is no such map.
    """

    official: OfficialConfig
    folder: ViewFolder
    number: int
    planes: tuple[float, float]
    shape: tuple[int, int]
    intrinsics: Intrinsics
    seen: SeenPoints | None
    reference: NDArray[np.float64] | None

    @property
    def name(self) -> str:
        """The view's file, relative to the folder."""
        return self.folder.names[self.number]

    def codes(self, key: str) -> NDArray[np.uint16] | None:
        """Return the view's depth image in the folder that a key names; None where there is none.

        Uint16 [rows, cols], in the file's unit of depth.
        """
        return self.folder.codes(self.number, str(self.official.values[key]))


def read_source(official: OfficialConfig, config: DiffrenderConfig, rng: np.random.Generator) -> OfficialSource:
    """Read what a configuration names; ``rng`` draws synthetic points.

    Raises
    ------
    InputError
        A missing or broken file, no sparse point in the view, depths beyond the clip planes.
    """
    values = official.values
    path = official.folder("input_dir")
    if path is None or not values["view_name"]:
        raise ConfigError(f"{official.path}: give input_dir (the folder with transforms.json) and view_name.")
    folder = read_view_folder(path)
    number = find_view(folder.names, str(values["view_name"]), compat=config.compat)
    rows, cols = (int(side) for side in values["cam_resolution"])
    planes = (float(values["cam_near_far"][0]), float(values["cam_near_far"][1]))
    reference = None
    if official.is_available("init_ref_depth_dir"):
        codes = folder.codes(number, str(values["init_ref_depth_dir"]))
        reference = None if codes is None else codes.astype(np.float64) * values["depth_image_depth_scale"]
    seen = _points(official, folder, number, planes, reference, config, rng)
    return OfficialSource(
        official, folder, number, planes, (rows, cols), folder.intrinsics.scaled(cols, rows), seen, reference
    )


def _points(
    official: OfficialConfig,
    folder: ViewFolder,
    number: int,
    planes: tuple[float, float],
    reference: NDArray[np.float64] | None,
    config: DiffrenderConfig,
    rng: np.random.Generator,
) -> SeenPoints | None:
    sparse, values, name = official.folder("input_colmap_sparse"), official.values, folder.names[number]
    if sparse is None:
        return None
    if sparse.name.endswith(SYNTHETIC):
        if reference is None:
            raise MissingFileError(
                f"{official.path}: input_colmap_sparse {SYNTHETIC} draws points from the reference depth map of "
                f"{name}, which is not in {values['init_ref_depth_dir']}."
            )
        seen = sampled_points(
            reference,
            folder.intrinsics,
            folder.image(number),
            rng,
            number=values["sparse_pcd_from_ref_num_points"],
            outliers=values["sparse_pcd_from_ref_outlier_ratio"],
            noise=values["sparse_pcd_from_ref_perturb_std"],
        )
    else:
        matrix = model_view(folder.camera_to_world[number], flip=bool(values["cam_use_flip_mat"]), turn=False)
        seen = seen_points(read_model(sparse), name, matrix, planes[0], compat=config.compat)
    if len(seen.xyz) == 0:
        raise InputError(
            f"{sparse} has no point that the view {name} sees farther away than {2 * planes[0]:g} m: check "
            "cam_use_flip_mat and cam_near_far, or set input_colmap_sparse to None."
        )
    return seen


def checked_depth(source: OfficialSource, key: str) -> NDArray[np.float64]:
    """Return the view's depth map in metres, float64 of its own size, 0 unknown, from the folder that a key names.

    [rows, cols].

    Raises
    ------
    InputError
        There is none, or none of its depths lies between the clip planes.
    """
    values, name = source.official.values, str(source.official.values[key])
    codes = source.codes(key)
    if codes is None:
        raise MissingFileError(f"{source.official.path}: view {source.name} has no depth map in {key} {name}.")
    depth: NDArray[np.float64] = codes.astype(np.float64) * values["depth_image_depth_scale"]
    known = depth[depth > 0]
    if not ((known > source.planes[0]) & (known < source.planes[1])).any():
        span = f"{known.min():.4g} to {known.max():.4g} m" if known.size else "no depth at all"
        raise InputError(
            f"The depth map of {source.name} in {name} holds {span}, cam_near_far is {source.planes[0]:g} to "
            f"{source.planes[1]:g} m: check depth_image_depth_scale."
        )
    return depth


def read_normals(source: OfficialSource, config: DiffrenderConfig) -> ReferenceNormals | None:
    """Return the normals that the surface is to have, in the working size; None where none are asked for.

    Raises
    ------
    InputError
        An image is missing or has another format; a suffix that the published rule does not know, under ``compat``.
    """
    folder = source.official.folder("input_normal_dir")
    if folder is None or not config.loss.normal:
        return None
    file = Path(source.name)
    if config.compat and file.suffix != PUBLISHED_SUFFIX:
        raise InputError(
            f"As published, normals are found for images of the suffix {PUBLISHED_SUFFIX} only and {source.name} has "
            "another: set compat to false, or input_normal_dir to None."
        )
    paths = folder / f"{file.stem}.png", folder / f"{file.stem}_certainty.png"
    for path in paths:
        if not path.is_file():
            raise MissingFileError(
                f"{path} is missing: input_normal_dir must hold normals and certainties of {source.name}; or set it to "
                "None."
            )
    directions = torch.from_numpy(normals_of_codes(read_codes(paths[0], bands=3)))[None]
    certainty = torch.from_numpy(fractions_of_codes(read_codes(paths[1])))[None, None]
    return ReferenceNormals(resize_map(directions, source.shape), resize_map(certainty, source.shape))
