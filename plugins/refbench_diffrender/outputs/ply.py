"""Points and meshes out: PLY, binary little endian, coordinates float64 so that UTM keeps its millimetres.

Letters: V vertices, T triangles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_TYPES = {"<f8": "double", "<f4": "float", "u1": "uchar"}


def write_ply(
    path: Path,
    xyz: NDArray[np.float64],
    *,
    normals: NDArray[np.float32] | None = None,
    colour: NDArray[np.uint8] | None = None,
    confidence: NDArray[np.float32] | None = None,
    triangles: NDArray[np.integer] | None = None,
    comment: str = "",
) -> None:
    """Write a point cloud or, with ``triangles``, a mesh.

    Parameters
    ----------
    path
        The file; it appears whole or not at all.
    xyz
        float64 [V, 3], scene coordinates.
    normals, colour, confidence
        float32 [V, 3], uint8 [V, 3] and float32 [V].
    triangles
        [T, 3], numbers of vertices.
    comment
        One line for the header, such as the CRS.

    Raises
    ------
    InputError
        No points, arrays that do not match, a missing folder or a full disk.
    """
    columns = _columns(xyz, normals, colour, confidence)
    if not len(xyz) or any(len(values) != len(xyz) for _, _, values in columns):
        raise InputError(f"{path}: a PLY file needs points, and as many values of every kind as points.")
    rows = np.empty(len(xyz), [(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        rows[name] = values
    header = ["ply", "format binary_little_endian 1.0", "comment refbench"]
    header += [f"comment {' '.join(comment.split())}"] if comment else []
    header += [f"element vertex {len(xyz)}", *(f"property {_TYPES[kind]} {name}" for name, kind, _ in columns)]
    faces = None
    if triangles is not None:
        header += [f"element face {len(triangles)}", "property list uchar int vertex_indices"]
        faces = np.empty(len(triangles), [("corners", "u1"), ("vertices", "<i4", (3,))])
        faces["corners"], faces["vertices"] = 3, triangles
    with atomic_file(path) as file:
        file.write(("\n".join([*header, "end_header"]) + "\n").encode("ascii", "replace"))
        file.write(rows.tobytes())
        if faces is not None:
            file.write(faces.tobytes())


def _columns(
    xyz: NDArray[np.float64],
    normals: NDArray[np.float32] | None,
    colour: NDArray[np.uint8] | None,
    confidence: NDArray[np.float32] | None,
) -> list[tuple[str, str, NDArray[Any]]]:
    """Return name, type and values [V] of every property."""
    found: list[tuple[str, str, NDArray[Any]]] = [(name, "<f8", xyz[:, k]) for k, name in enumerate("xyz")]
    if normals is not None:
        found += [(name, "<f4", normals[:, k]) for k, name in enumerate(("nx", "ny", "nz"))]
    if colour is not None:
        found += [(name, "u1", colour[:, k]) for k, name in enumerate(("red", "green", "blue"))]
    if confidence is not None:
        found.append(("confidence", "<f4", confidence))
    return found
