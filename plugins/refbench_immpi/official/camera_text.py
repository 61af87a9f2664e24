"""Camera text files of LEVIR-NVS and WHU-MVS (docs/methods/immpi.md), in and out, by line number.

Lines, from 1: ``extrinsic``, 4 rows of the world-to-camera matrix, blank, ``intrinsic``, 3 rows of K, blank, nearest
and farthest depth. OpenCV axes; pixel centres lie at integers; depth is z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench.geometry.cameras import Pinhole

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

EXTRINSIC, INTRINSIC, RANGE = slice(1, 5), slice(7, 10), 11
LAYOUT = "1 header, 4 rows of the extrinsic, a blank, 1 header, 3 rows of the intrinsic, a blank, the depth range"
ROTATION_TOLERANCE = 1e-3
"""How far the rotation may be from one: what six digits and float32 leave."""


@dataclass(frozen=True, slots=True, eq=False)
class CameraText:
    """``E`` float32 [4, 4] world to camera, ``K`` float32 [3, 3]; ``near`` and ``far`` in scene units, or None."""

    E: NDArray[np.float32]
    K: NDArray[np.float32]
    near: float | None
    far: float | None

    def camera(self, width: int, height: int) -> Pinhole:
        """Return the core's camera; its rotation is the nearest one to what the file's digits say."""
        left, _, right = np.linalg.svd(self.E[:3, :3].astype(np.float64))
        K = self.K.astype(np.float64)
        return Pinhole(K / K[2, 2], left @ right, self.E[:3, 3].astype(np.float64), width, height)


def read_camera_text(path: Path, *, needs_range: bool = True) -> CameraText:
    """Read a camera; with ``needs_range`` the range of depths must be there and make sense.

    Raises
    ------
    InputError
        Unreadable, too few lines, a row that is not so many numbers, no rotation, a reversed or empty range.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a camera: {error}.") from error
    if len(lines) < INTRINSIC.stop:
        raise InputError(f"{path} has {len(lines)} lines, a camera has 12: {LAYOUT}.")
    E = np.array([_numbers(path, number, lines[number], 4) for number in range(EXTRINSIC.start, EXTRINSIC.stop)])
    K = np.array([_numbers(path, number, lines[number], 3) for number in range(INTRINSIC.start, INTRINSIC.stop)])
    off = float(np.abs(E[:3, :3] @ E[:3, :3].T - np.eye(3)).max())
    if off > ROTATION_TOLERANCE or np.linalg.det(E[:3, :3]) < 0:
        raise InputError(
            f"{path}, lines 2 to 4: the extrinsic's left block is no rotation (R R^T is {off:.2g} from the identity); "
            "give a world-to-camera matrix with OpenCV axes."
        )
    if not np.allclose(E[3], (0, 0, 0, 1), atol=1e-6):
        raise InputError(f"{path}, line 5: the last row of the extrinsic must be 0 0 0 1.")
    if K[0, 0] * K[1, 1] == 0 or not np.allclose(K[2], (0, 0, 1), atol=1e-6):
        raise InputError(
            f"{path}, lines 8 to 10: the intrinsic must be [fx s cx; 0 fy cy; 0 0 1] with lengths above 0."
        )
    near = far = None
    if len(lines) > RANGE and lines[RANGE].strip():
        near, far = _numbers(path, RANGE, lines[RANGE], 2)
    if needs_range and (near is None or far is None or not 0 < near < far):
        found = "is missing" if near is None else f"reads {near:g} to {far:g}"
        raise InputError(
            f"{path}, line 12: the range of depths {found}; give nearest and farthest, 0 < nearest < farthest."
        )
    return CameraText(E.astype(np.float32), K.astype(np.float32), near, far)


def _numbers(path: Path, line: int, text: str, count: int) -> list[float]:
    """Return the numbers of a line, by commas where there are any, else by white space."""
    parts = [part for part in (text.split(",") if "," in text else text.split()) if part.strip()]
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(
            f"{path}, line {line + 1}: {text.strip()!r} is not {count} numbers separated by commas or blanks; a camera "
            f"file holds {LAYOUT}."
        )
    return values


def write_camera_text(path: Path, camera: Pinhole, near: float, far: float, *, separator: str = ",") -> None:
    """Write a camera; ``separator`` is a comma in LEVIR-NVS and a blank in WHU-MVS."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.R, camera.t

    def rows(matrix: NDArray[np.float64]) -> str:
        return "\n".join(separator.join(f"{value:.12g}" for value in row) for row in matrix)

    text = f"extrinsic\n{rows(pose)}\n\nintrinsic\n{rows(np.asarray(camera.K))}\n\n{near:.9g}{separator}{far:.9g}\n"
    with atomic_file(path) as file:
        file.write(text.encode())
