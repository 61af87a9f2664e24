"""Output folders of s2p and s2p-hd: ``dsm.tif``, ``confidence.tif``, a cloud a tile, the run's configuration.

``refbench.scenes.exporters.s2p`` writes such a folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.files.json_text import parse_json
from refbench.formats.cloud_formats import open_reader
from refbench.formats.raster import open_image
from refbench.scenes.build import SceneFiles, build_scene
from refbench.scenes.importers.output_folder import (
    completed,
    ellipsoidal,
    left_over,
    matching,
    named_beside,
    one_of,
    rpc_views,
)

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.raster import Image
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource

CONFIG = "config.json"
TILES = "tiles"
CLOUDS = "tiles/**/cloud.ply"
LAYERS = {"confidence": "confidence", "dsm_std": "sigma", "dsm_cnt": "count"}
"""Stem of a raster beside the DSM -> name of the layer it becomes."""


def is_s2p_folder(path: Path) -> bool:
    """Return whether a folder is an output folder of s2p, by names alone: tiles, and a DSM or a configuration."""
    if not path.is_dir() or not (path / TILES).is_dir():
        return False
    return one_of(path, "dsm.tif", "tiles.txt", CONFIG) is not None


def open_s2p(path: Path) -> Scene:
    """Open an output folder of s2p: the DSM, its layers, the clouds of all tiles as one, the images as views.

    RPCs give heights above the ellipsoid, so that is their datum where the DSM names none.

    Raises
    ------
    InputError
        There is no ``dsm.tif``, or a file is damaged or lies on another grid.
    """
    if (dsm := one_of(path, "dsm.tif")) is None:
        tiles = len(matching(path, "tiles/**/dsm.tif"))
        raise InputError(
            f"{path} holds no dsm.tif, though {tiles} of its tiles have one: the run did not reach its last step; "
            "go on with s2p --start_from 7, or give a cloud with --points and --gsd."
        )
    clouds, notes = _clouds(path)
    views, lost = rpc_views(_images(path))
    layers: dict[str, RasterSource[Image]] = {
        name: open_image(file) for stem, name in LAYERS.items() if (file := one_of(path, f"{stem}.tif")) is not None
    }
    scene = build_scene(SceneFiles(path.name, path, vertical=ellipsoidal(dsm), dsm=dsm, points=clouds, views=views))
    used = [dsm, *(source.files[0] for source in layers.values())]
    return completed(scene, [*notes, *lost, *left_over(path, used)], layers=layers)


def _clouds(path: Path) -> tuple[tuple[Path, ...], list[str]]:
    """Return the clouds of tiles that hold points; tiles without any (sea, cloud cover) leave an empty file or none."""
    found = matching(path, CLOUDS)
    kept = tuple(file for file in found if file.stat().st_size and open_reader(file).count >= 2)
    empty = len(found) - len(kept)
    return kept, [f"{empty} of {len(found)} tiles of {path} hold no points."] if empty else []


def _images(path: Path) -> dict[str, tuple[Path, Path | None]]:
    """Return name -> (image, file of its RPC) of the run's configuration."""
    if (file := one_of(path, CONFIG)) is None:
        return {}
    try:
        config: Any = parse_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not valid JSON: {error}.") from error
    images = config.get("images") if isinstance(config, dict) else None
    found = {}
    for number, image in enumerate(images if isinstance(images, list) else [], 1):
        if not (isinstance(image, dict) and isinstance(image.get("img"), str)):
            raise InputError(f"{file}: image {number} names no file under img.")
        source = named_beside(image["img"], path)
        rpc = image.get("rpc")
        name = source.stem if source.stem not in found else f"{source.stem}-{number}"
        found[name] = source, named_beside(rpc, path) if isinstance(rpc, str) else None
    return found
