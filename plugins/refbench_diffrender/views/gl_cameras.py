"""Matrices of the official program (docs/methods/diffrender.md): projection, model-view; float64 unless said.

View space is OpenGL's: x right, y up, the camera looks along -z. Intrinsics have their origin at the corner of the
first pixel. Clip y grows downwards, so rendered row 0 is the top of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""From OpenCV's axes to OpenGL's."""
TURN = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""A quarter turn about x that the official program applies to the world; it cancels between views."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Focal lengths and principal point in pixels, corner origin; size of the image."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def scaled(self, width: int, height: int) -> Intrinsics:
        """Return the intrinsics of the image at another size."""
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
    found = np.asarray(np.linalg.inv(camera_to_world), np.float64)
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
    for reduce in _REDUCTIONS:
        places = [place for place, name in enumerate(names) if reduce(name) == reduce(wanted)]
        if len(places) == 1:
            return places[0]
    raise InputError(f"There is no single view {wanted!r} among {', '.join(names)}.")


_REDUCTIONS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: name.rsplit("/", 1)[-1],
    lambda name: name.rsplit("/", 1)[-1].rsplit(".", 1)[0],
)
"""What of a view's name is compared: all of it, without folder, without folder and suffix."""
