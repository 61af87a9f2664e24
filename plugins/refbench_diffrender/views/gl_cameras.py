"""Matrices of the official program (docs/methods/diffrender.md): projection, model-view, poses; float64 unless said.

View space is OpenGL's: x right, y up, the camera looks along -z. Intrinsics have their origin at the corner of the
first pixel. Clip y grows downwards, so rendered row 0 is the top of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""From OpenCV's axes to OpenGL's."""
TURN = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""A quarter turn about x that the official program applies to the world; it cancels between views."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Focal lengths and principal point in pixels, corner origin; size of the picture."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def scaled(self, width: int, height: int) -> Intrinsics:
        """Return the intrinsics of the picture at another size."""
        across, down = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * across,
            cx=self.cx * across,
            fy=self.fy * down,
            cy=self.cy * down,
            width=width,
            height=height,
        )

    def projection(self, near: float, far: float) -> Floats:
        """Return the clip matrix [4, 4] for column vectors."""
        w, h = self.width, self.height
        return np.array(
            [
                [2 * self.fx / w, 0, (w - 2 * self.cx) / w, 0],
                [0, -2 * self.fy / h, (h - 2 * self.cy) / h, 0],
                [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
                [0, 0, -1, 0],
            ]
        )


def model_view(camera_to_world: Floats, *, flip: bool, turn: bool = True) -> Floats:
    """Return the matrix [4, 4] from the (turned) world to the view.

    ``flip`` where poses are OpenCV's or COLMAP's; ``turn`` as the official program does.
    """
    found = np.linalg.inv(camera_to_world)
    if flip:
        found = FLIP @ found
    return found @ TURN if turn else found


def find_view(names: Sequence[str], wanted: str, *, compat: bool = False) -> int:
    """Return the place of the view of a name.

    ``compat``: the shortest name that ends with it, whatever the case, as published; else the exact name, with or
    without folder and suffix.

    Raises
    ------
    InputError
        No view, or several, fit.
    """
    if compat:
        fitting = [name for name in names if name.lower().endswith(wanted.lower())]
        if fitting:
            return list(names).index(min(fitting, key=len))
    for reduce in (lambda n: n, lambda n: n.rsplit("/", 1)[-1], lambda n: n.rsplit("/", 1)[-1].rsplit(".", 1)[0]):
        places = [place for place, name in enumerate(names) if reduce(name) == reduce(wanted)]
        if len(places) == 1:
            return places[0]
    raise InputError(f"There is no single view {wanted!r} among {', '.join(names)}.")


def upright_poses(camera_to_world: Floats) -> Floats:
    """Return poses [N, 4, 4] as instant-ngp's converter normalises them.

    Columns 1 and 2 change sign, rows 0 and 1 swap, row 2 changes sign; the summed up vectors turn to +z; the point that
    the lines of sight come closest to is the origin. Nothing is scaled.
    """
    poses = np.array(camera_to_world, np.float64)
    poses[:, :3, 1:3] *= -1
    poses = poses[:, [1, 0, 2, 3]]
    poses[:, 2] *= -1
    up = poses[:, :3, 1].sum(0)
    turn = np.eye(4)
    turn[:3, :3] = _between(up / np.linalg.norm(up), np.array([0, 0, 1.0]))
    poses = turn @ poses
    total, weights = np.zeros(3), 0.0
    for first in poses:
        for second in poses:
            point, weight = _closest(first[:3, 3], first[:3, 2], second[:3, 3], second[:3, 2])
            if weight > 1e-5:
                total, weights = total + weight * point, weights + weight
    if weights > 0:
        poses[:, :3, 3] -= total / weights
    return poses


def _between(first: Floats, second: Floats) -> Floats:
    """Return the rotation that turns a unit vector to another."""
    axis, cosine = np.cross(first, second), float(first @ second)
    if cosine < -1 + 1e-10:
        return _between(first + 1e-2 * np.array([0.3, 0.7, -0.4]), second)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + k + k @ k / (1 + cosine)


def _closest(a: Floats, da: Floats, b: Floats, db: Floats) -> tuple[Floats, float]:
    """Return the point between two lines where they are closest, and how far from parallel they are."""
    da, db = da / np.linalg.norm(da), db / np.linalg.norm(db)
    c = np.cross(da, db)
    weight = float(c @ c)
    t = b - a
    along_a = min(0.0, float(np.linalg.det([t, db, c])) / (weight + 1e-10))
    along_b = min(0.0, float(np.linalg.det([t, da, c])) / (weight + 1e-10))
    return (a + along_a * da + b + along_b * db) * 0.5, weight
