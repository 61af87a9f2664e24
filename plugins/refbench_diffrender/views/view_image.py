"""What a refinement is told of its views: posed images, sparse depths, normals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ViewImage:
    """A posed image: ``image`` [rows, cols, 3] in [0, 1]; ``model_view`` [4, 4] world to view, OpenGL axes.

    ``depth`` [rows, cols] is what the view's own depth map holds, metres, 0 unknown; None where it has none.
    """

    name: str
    image: Tensor
    model_view: Tensor
    projection: Tensor
    depth: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SparsePoints:
    """Known depths of a view: ``places`` [N, 2] in [-1, 1] (left, top to right, bottom), ``depths`` [N] in metres."""

    places: Tensor
    depths: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceNormals:
    """``directions`` [1, 3, rows, cols] in the own view, x to the left, y up; ``certainty`` [1, 1, rows, cols]."""

    directions: Tensor
    certainty: Tensor
