"""A STAC item of what a run made: ``item.json`` beside ``result.json``, for catalogues of many tiles.

STAC 1.0.0 with the extensions projection 1.1.0 and file 2.1.0. Paths are relative: the folder may move.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rasterio.warp import transform_geom

from refbench.files.atomic import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.grid import Grid
    from refbench.contracts.scene import Scene
    from refbench.engine.job.result import Result

ITEM_FILE = "item.json"
EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
MEDIA_TYPES = {".tif": COG, ".png": "image/png", ".json": "application/json", ".html": "text/html", ".ply": "model/ply"}
METRICS = ("mae", "rmse", "nmad")
DIGITS = 7
"""Of degrees: a centimetre."""
SHA2_256 = "1220"
"""What a multihash of SHA-256 begins with: code of the function, 32 bytes."""


def write_item(folder: Path, result: Result, scene: Scene) -> Path:
    """Write the item of a run into its folder; return the file."""
    path = folder / ITEM_FILE
    with atomic_file(path) as file:
        file.write(json.dumps(item(folder, result, scene), indent=2, allow_nan=False).encode() + b"\n")
    return path


def item(folder: Path, result: Result, scene: Scene) -> dict[str, Any]:
    """Return the item.

    ``datetime`` is the middle of the times when the scene's images were taken where their files say these, else the
    time of the run: a DSM without images does not tell its own. ``geometry`` is the raster's outline in WGS 84
    (longitude, latitude), null where the scene has no georeference; ``proj:transform`` maps pixel corners.
    """
    grid = scene.grid
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": list(EXTENSIONS),
        "id": f"{result.scene}-{result.method}-seed{result.seed}",
        **_place(grid),
        "properties": {**_times(scene, result), **_projection(grid), **_facts(result)},
        "links": [],
        "assets": _assets(folder, result),
    }


def _place(grid: Grid | None) -> dict[str, Any]:
    """Return ``geometry`` and ``bbox`` of the raster's four corners; no ``bbox`` where there is no geometry."""
    if grid is None or grid.crs is None:
        return {"geometry": None}
    corners = [(0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0), (0, 0)]
    ring = [list(grid.transform @ corner) for corner in corners]
    if grid.transform.determinant > 0:  # rings run counter-clockwise (RFC 7946); rows that run north turn it round
        ring.reverse()
    outline = {"type": "Polygon", "coordinates": [ring]}
    geometry = transform_geom(grid.crs, "OGC:CRS84", outline, precision=DIGITS)
    points = [[float(x), float(y)] for x, y in geometry["coordinates"][0]]
    xs, ys = zip(*points, strict=True)
    place = {"type": "Polygon", "coordinates": [points]}
    return {"geometry": place, "bbox": [min(xs), min(ys), max(xs), max(ys)]}


def _times(scene: Scene, result: Result) -> dict[str, Any]:
    taken = sorted(view.acquired for view in scene.views.values() if view.acquired is not None)
    if not taken:
        return {"datetime": result.created, "created": result.created}
    middle = taken[0] + (taken[-1] - taken[0]) / 2
    start, end, middle_text = (time.isoformat(timespec="seconds") for time in (taken[0], taken[-1], middle))
    return {"datetime": middle_text, "start_datetime": start, "end_datetime": end, "created": result.created}


def _projection(grid: Grid | None) -> dict[str, Any]:
    """Return the fields of the extension ``projection``; ``proj:epsg`` is null where the CRS has no code."""
    if grid is None:
        return {"proj:epsg": None}
    code = None if grid.crs is None else grid.crs.to_epsg()
    bounds = grid.bounds
    found: dict[str, Any] = {
        "gsd": grid.gsd,
        "proj:epsg": code,
        "proj:shape": list(grid.shape),
        "proj:transform": [*tuple(grid.transform)[:6], 0.0, 0.0, 1.0],
        "proj:bbox": [bounds.west, bounds.south, bounds.east, bounds.north],
    }
    if code is None and grid.crs is not None:
        found["proj:wkt2"] = grid.crs.to_wkt(version="WKT2_2019")
    return found


def _facts(result: Result) -> dict[str, Any]:
    """Return what refbench says of the run under its own prefix: method, version, weights, errors in metres."""
    facts: dict[str, Any] = {
        "refbench:method": result.method,
        "refbench:version": result.refbench_version,
        "refbench:seed": result.seed,
        "refbench:config_sha256": result.hashes.config,
    }
    for which in ("input", "refined"):
        scores = ((result.metrics or {}).get(which) or {}).get("all") or {}
        facts |= {f"refbench:{which}_{key}": scores[key] for key in METRICS if scores.get(key) is not None}
    return facts


def _assets(folder: Path, result: Result) -> dict[str, Any]:
    """Return the run's files; ``file:checksum`` is the multihash of the SHA-256 in the result."""
    assets: dict[str, Any] = {}
    for name, file in result.outputs.items():
        path = folder / file
        if not path.is_file():  # a folder of logs
            continue
        asset: dict[str, Any] = {"href": f"./{file}", "roles": ["data" if path.suffix == ".tif" else "metadata"]}
        asset["title"] = "Refined DSM, heights in metres" if name == "dsm" else name
        if (kind := MEDIA_TYPES.get(path.suffix)) is not None:
            asset["type"] = kind
        asset["file:size"] = path.stat().st_size
        if (digest := result.hashes.outputs.get(file)) is not None:
            asset["file:checksum"] = f"{SHA2_256}{digest}"
        assets[name] = asset
    assets["result"] = {"href": "./result.json", "type": "application/json", "roles": ["metadata"], "title": "Result"}
    return assets
