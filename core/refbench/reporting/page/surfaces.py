"""Images and height grids of a scene's surfaces, small enough to travel inside the page."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np
from affine import Affine

from refbench.contracts.grid import Window
from refbench.evaluation.orientation import Orientation
from refbench.reporting.figures import error_image, error_legend_png, error_scale, surface_image
from refbench.reporting.page.model import SceneView, Surface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM
    from refbench.contracts.source import RasterSource

IMAGE_SIDE, GRID_SIDE = 448, 192
QUALITY = 76
HELD_PX = 4_000_000
REFERENCE = "reference"
NO_HEIGHT = -32768
CM = 100.0


def scene_view(name: str, sources: Mapping[str, RasterSource[DSM]]) -> SceneView | None:
    """Return the view of a scene's surfaces, None without any.

    Surfaces that do not lie on the grid of the reference (of the first one where there is none) are left out and
    named in the view's note. Error maps share one scale; hillshades share one tint.
    """
    if not sources:
        return None
    leading = sources.get(REFERENCE) or next(iter(sources.values()))
    grid = leading.grid
    if grid is None:
        return None
    left_out = [label for label, source in sources.items() if source.grid != grid]
    step = -(-max(grid.shape) // IMAGE_SIDE)
    turn = Orientation.northward(grid)  # images are seen north-up, however the raster is written
    heights = {
        label: turn.apply(thinned(source, grid, step)) for label, source in sources.items() if label not in left_out
    }
    shown = turn.grid(grid).transform @ Affine.scale(step)
    known = np.concatenate([values[np.isfinite(values)] for values in heights.values()])
    low, high = (float(v) for v in np.percentile(known, (2, 98))) if known.size else (0.0, 1.0)
    base = float(np.round((low + high) / 2))
    reference = heights.get(REFERENCE)
    errors = (
        {} if reference is None else {k: v.astype(np.float64) - reference for k, v in heights.items() if k != REFERENCE}
    )
    scale = error_scale(*errors.values()) if errors else None
    surfaces = [
        Surface(
            label,
            webp(surface_image(values, shown, low, high)),
            packed(values, base),
            webp(error_image(errors[label], scale)) if scale is not None and label in errors else None,
            f"{100 * np.isfinite(values).mean():.1f} % valid",
        )
        for label, values in heights.items()
    ]
    rows, cols = next(iter(heights.values())).shape
    note = f"Not on the grid of the {REFERENCE}: {', '.join(left_out)}." if left_out else ""
    return SceneView(
        name,
        tuple(surfaces),
        int(rows),
        int(cols),
        (cols * shown.a, cols * shown.d),
        (rows * shown.b, rows * shown.e),
        base,
        None if scale is None else _url("png", error_legend_png(scale)),
        note,
    )


def thinned(source: RasterSource[DSM], grid: Grid, step: int) -> NDArray[np.float32]:
    """Return every ``step``-th row and column, read by strips where the raster is large.

    Float32 [rows, cols], metres.
    """
    if grid.width * grid.height <= HELD_PX:
        return source.read().heights[::step, ::step].copy()
    rows = []
    height = step * max(1, HELD_PX // (grid.width * step))
    for first in range(0, grid.height, height):
        window = Window(0, first, grid.width, min(height, grid.height - first))
        rows.append(source.read(window).heights[::step, ::step])
    return np.concatenate(rows)


def packed(heights: NDArray[np.float32], base: float) -> str:
    """Return ``rows,cols,data`` of heights thinned to ``GRID_SIDE``: base64 of deflated int16 little-endian.

    Values are centimetres above ``base``, ``NO_HEIGHT`` where unknown.
    ``heights`` is [rows, cols], metres.
    """
    step = -(-max(heights.shape) // GRID_SIDE)
    small = heights[::step, ::step]
    centimetres = np.clip(np.rint((small - base) * CM), NO_HEIGHT + 1, -NO_HEIGHT - 1)
    values = np.where(np.isfinite(small), np.nan_to_num(centimetres), NO_HEIGHT).astype("<i2")
    data = base64.b64encode(zlib.compress(values.tobytes(), 9)).decode()
    return f"{values.shape[0]},{values.shape[1]},{data}"


def webp(image: NDArray[np.float64]) -> str:
    """Return an RGB image in [0, 1], [rows, cols, 3], as a data URL."""
    pixels = np.ascontiguousarray((image[..., ::-1] * 255 + 0.5).astype(np.uint8))
    done, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    if not done:
        done, data = cv2.imencode(".png", pixels)
        return _url("png", data.tobytes())
    return _url("webp", data.tobytes())


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
