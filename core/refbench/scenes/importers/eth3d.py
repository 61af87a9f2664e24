"""Multi-view scenes of ETH3D: undistorted images beside their calibration, a sparse model of COLMAP in text form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.scenes.importers.colmap import open_model
from refbench.scenes.importers.colmap_model import KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.scene import Scene

CAMERAS = ("dslr", "rig")
REFERENCE_DEPTHS, SCANS = "ground_truth_depth", "dslr_scan_eval"


def _calibrations(path: Path) -> tuple[Path, ...]:
    return tuple(folder for name in CAMERAS if (folder := path / f"{name}_calibration_undistorted").is_dir())


def is_eth3d_folder(path: Path) -> bool:
    """Return whether a folder is a scene of ETH3D, by names alone: ``images`` and a calibration."""
    if not path.is_dir() or not (path / "images").is_dir():
        return False
    return any((path / f"{name}_calibration_{kind}").is_dir() for name in CAMERAS for kind in ("undistorted", "jpg"))


def open_eth3d(path: Path) -> Scene:
    """Open a scene: views of the undistorted images and the sparse points, in metres of the scene's own frame.

    Of two calibrations that of the SLR camera is taken. The reference, laser scans and depth maps of the images before
    they were undistorted, belongs to no view here.

    Raises
    ------
    InputError
        There is only the calibration of the distorted images, or see ``read_model``.
    """
    found = _calibrations(path)
    if not found:
        raise InputError(
            f"{path} holds the calibration of distorted images only; download ETH3D's undistorted images and their "
            "calibration (dslr_calibration_undistorted)."
        )
    if lacks := [kind for kind in KINDS if not (found[0] / f"{kind}.txt").is_file()]:
        raise InputError(f"{found[0]} lacks {lacks[0]}.txt.")
    notes = [f"{found[0].name} is used, {other.name} is not." for other in found[1:]]
    kept = [name for name in (REFERENCE_DEPTHS, SCANS) if (path / name).is_dir()]
    if kept:
        notes.append(f"{path}: {' and '.join(kept)} are of other images or a cloud, and are not used as reference.")
    return open_model(path, found[0], notes)
