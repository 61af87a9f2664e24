"""Images of the refinement under the official names: what a person looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench_diffrender.depth_mode.refinement import ViewRefinement

    ByteImage = NDArray[np.uint8]

FRACTION_BITS = 4
"""Of the places between pixels at which lines are drawn."""
LEGIBLE = 8
"""Pixels between the vertices of the wireframe, at least."""
HASHES = (73, 151, 199)
"""Steps from one triangle's red, green and blue to the next one's."""


def byte_codes(values: NDArray[np.floating]) -> ByteImage:
    """Return values in [0, 1] of any shape as 8-bit codes; what lies beyond is cut off."""
    return np.asarray(np.rint(np.clip(values, 0, 1) * 255), np.uint8)


@torch.no_grad()
def mesh_images(run: ViewRefinement) -> dict[str, ByteImage]:
    """Return ``uv``, ``tris`` and ``wireframe`` [rows, cols, 3] of the mesh in its own view as it is now."""
    view = run.view_points(2)
    clip = (view @ run.own.projection.to(view).T)[None]
    uv = run.mesh.uv(run.offset)[None]
    rast, places = run.renderer.render(clip, run.mesh.triangles, uv, run.shape)
    number = rast[0, ..., 3].cpu().numpy().astype(np.int64)
    seen = (number > 0)[..., None]
    coordinates = np.concatenate([places[0].cpu().numpy(), np.zeros((*run.shape, 1))], axis=-1)
    colours = (number[..., None] * np.array(HASHES) % 256).astype(np.uint8)
    return {
        "uv": byte_codes(coordinates * seen),
        "tris": np.where(seen, colours, np.uint8(0)),
        "wireframe": _wireframe(run, clip[0].cpu().numpy()),
    }


def _wireframe(run: ViewRefinement, clip: NDArray[np.float32]) -> ByteImage:
    """Return the own image, enlarged where the mesh is fine, with the edges of all triangles."""
    times = -(-LEGIBLE // run.config.stride)
    rows, cols = (times * side for side in run.shape)
    place = (clip[:, :2] / clip[:, 3:] + 1) / 2 * (cols, rows) - 0.5
    triangles = run.mesh.triangles.cpu().numpy()
    corners = place[triangles[(triangles >= 0).all(axis=1)]]
    lines = list(np.rint(corners * 2**FRACTION_BITS).astype(np.int32))
    image: ByteImage = cv2.resize(
        byte_codes(run.own.image.cpu().numpy()), (cols, rows), interpolation=cv2.INTER_NEAREST
    )
    cv2.polylines(image, lines, isClosed=True, color=(255, 255, 0), shift=FRACTION_BITS)
    return image


def coloured(depth: NDArray[np.floating], span: tuple[float, float]) -> ByteImage:
    """Return colours [rows, cols, 3] of a depth map, blue at the near end of ``span``; unknown is black."""
    fraction = (depth - span[0]) / max(span[1] - span[0], 1e-12)
    colours = cv2.applyColorMap(byte_codes(fraction), cv2.COLORMAP_TURBO)[..., ::-1]
    image: ByteImage = np.where((depth > 0)[..., None], colours, 0).astype(np.uint8)
    return image


def scatter(path: Path, known: NDArray[np.floating], found: NDArray[np.floating], title: str) -> None:
    """Write a scatter plot of depths in metres [N]: of the sparse points, and of the aligned map under them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(known, found, s=4, label=f"{len(known)} points")
    ends = [float(known.min()), float(known.max())]
    axes.plot(ends, ends, color="black", linewidth=1, label="equal depth")
    axes.set(xlabel="depth of the sparse point (m)", ylabel="aligned initial depth (m)", title=title)
    axes.legend()
    figure.savefig(path, dpi=100)
