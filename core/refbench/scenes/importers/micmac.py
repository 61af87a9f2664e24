"""MEC folders of MicMac (``mm3d Malt``, ``PIMs2MNT``): the last Z image with its tfw and xml, correlation, mask.

A Z image counts steps of altitude: its xml says the altitude of 0 and the step. The tfw names the centre of the first
pixel; neither names a CRS. ``refbench.scenes.exporters.micmac`` writes such a folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from affine import Affine

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid
from refbench.contracts.scene import Scene
from refbench.formats.crs import parse_crs, require_metric
from refbench.formats.raster import open_image
from refbench.formats.raster_parts import CountedHeights, on_grid_of
from refbench.scenes.importers.output_folder import one_of

if TYPE_CHECKING:
    from pathlib import Path

    from rasterio.crs import CRS

    from refbench.contracts.raster import Image
    from refbench.contracts.source import RasterSource

Z_NAME = re.compile(r"Z_Num(?P<step>\d+)_DeZoom(?P<zoom>\d+)_(?P<stem>.+)\.tif")
MOST_XML_BYTES = 1 << 20
GROUND = "eGeomMNTEuclid"
"""The only geometry of MicMac whose images lie on the ground."""
CRS_FILES = ("crs.txt", "proj.txt")
"""Where the user names the CRS, which no file of MicMac does."""


def is_micmac_folder(path: Path) -> bool:
    """Return whether a folder holds Z images of MicMac, by names alone."""
    return path.is_dir() and any(Z_NAME.fullmatch(file.name) for file in path.glob("Z_Num*.tif"))


@dataclass(frozen=True, slots=True)
class Altitudes:
    """What the xml of a Z image says: where pixels lie and which altitude a count has, all in metres."""

    transform: Affine
    origin: float
    step: float
    geometry: str


def open_micmac(path: Path) -> Scene:
    """Open a MEC folder: the finest of its last Z images as DSM, ``Correl`` as layer, ``AutoMask`` where it counts.

    The CRS stands in ``crs.txt`` beside the images (such as ``EPSG:32632``): MicMac writes none.

    Raises
    ------
    InputError
        No CRS is named, the Z image lies in an image's geometry, or a file is missing or damaged.
    """
    image = last_z_image(path)
    found = altitudes(image)  # first: GDAL, too, reads the xml, and would only say that the header is damaged
    source = open_image(image, in_camera=True)
    if source.bands != 1:
        raise InputError(f"{image} has {source.bands} bands; a Z image has exactly 1.")
    if found.geometry != GROUND:
        raise InputError(
            f"{image} is in {found.geometry}, an image's own geometry; let MicMac make it on the ground (Malt Ortho)."
        )
    rows, cols = source.shape
    grid = Grid(cols, rows, found.transform, _crs(path))
    stem = Z_NAME.fullmatch(image.name)
    assert stem is not None  # it was chosen by that
    mask = _beside(path, "AutoMask", stem)
    known = None if mask is None else on_grid_of(mask, grid)
    beside = tuple(file for suffix in (".xml", ".tfw") if (file := image.with_suffix(suffix)).is_file())
    heights = CountedHeights(source, found.origin, found.step, known, grid, beside)
    layers = {}
    if (correlation := _beside(path, "Correl", stem)) is not None:
        layers["correlation"] = on_grid_of(correlation, grid)
    for part in (mask, correlation):
        if part is not None and part.shape != source.shape:
            raise InputError(f"{part.files[0]} has {part.shape[1]} x {part.shape[0]} px, {image} has {cols} x {rows}.")
    notes = [] if mask is not None else [f"{path} holds no AutoMask of the last step: every pixel counts as measured."]
    return Scene(
        path.name, grid, heights, layers=layers, origin=(*grid.origin, 0.0), folder=path, warnings=tuple(notes)
    )


def last_z_image(path: Path) -> Path:
    """Return the Z image of the finest zoom, and of these of the last step.

    Raises
    ------
    InputError
        There are images of several runs, or tiles of one image.
    """
    named = [(match, file) for file in path.glob("Z_Num*.tif") if (match := Z_NAME.fullmatch(file.name))]
    if not named:
        raise InputError(f"{path} holds no Z_Num<step>_DeZoom<zoom>_<name>.tif.")
    stems = sorted({match["stem"] for match, _ in named})
    if any("_Tile_" in stem for stem in stems):
        raise InputError(f"{path} holds its Z image in tiles; join them first, for example with mosaic_micmac_tiles.")
    if len(stems) > 1:
        raise InputError(f"{path} holds Z images of {len(stems)} runs ({', '.join(stems[:3])}); keep those of one.")
    return min(named, key=lambda pair: (int(pair[0]["zoom"]), -int(pair[0]["step"])))[1]


def altitudes(image: Path) -> Altitudes:
    """Return what stands beside a Z image; the tfw is taken for the place where there is one.

    Raises
    ------
    InputError
        The xml is missing or broken; the message says what lacks.
    """
    file = image.with_suffix(".xml")
    try:
        text = file.read_bytes()[: MOST_XML_BYTES + 1]
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}); without it the altitudes of {image.name} are not known."
        ) from error
    if len(text) > MOST_XML_BYTES or b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise InputError(f"{file} is no description of MicMac: it is too large or declares a document type.")
    try:
        root = ElementTree.fromstring(text)
        node = root if root.tag == "FileOriMnt" else next(root.iter("FileOriMnt"))
        origin, size = (_pair(node, name) for name in ("OriginePlani", "ResolutionPlani"))
        height, step = (float(_text(node, name)) for name in ("OrigineAlti", "ResolutionAlti"))
        geometry = _text(node, "Geometrie")
    except (ElementTree.ParseError, StopIteration, ValueError) as error:
        raise InputError(f"{file} is no description of MicMac (FileOriMnt): {error or 'it holds none'}.") from error
    # OriginePlani is the centre of the first pixel, as in a tfw; ours is its corner.
    transform = Affine(size[0], 0, origin[0] - size[0] / 2, 0, size[1], origin[1] - size[1] / 2)
    return Altitudes(_world_file(image) or transform, height, step, geometry)


def _text(node: Any, name: str) -> str:  # noqa: ANN401  # an element
    value = node.findtext(name)
    if value is None:
        raise ValueError(f"it lacks {name}")
    return str(value).strip()


def _pair(node: Any, name: str) -> tuple[float, float]:  # noqa: ANN401  # an element
    first, second = (float(word) for word in _text(node, name).split())
    return first, second


def _world_file(image: Path) -> Affine | None:
    """Return the transform of pixel corners in the tfw beside an image, None where there is none."""
    file = image.with_suffix(".tfw")
    if not file.is_file():
        return None
    try:
        a, d, b, e, x, y = (float(word) for word in file.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{file} must hold six numbers, a line each: {error}.") from error
    return Affine(a, b, x, d, e, y) @ Affine.translation(-0.5, -0.5)


def _crs(path: Path) -> CRS:
    file = one_of(path, *CRS_FILES)
    if file is None:
        raise InputError(
            f"{path} names no CRS, as MicMac writes none; write it into {path / CRS_FILES[0]}, such as EPSG:32632."
        )
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.") from error
    return require_metric(str(file), parse_crs(text, str(file)))


def _beside(path: Path, kind: str, z: re.Match[str]) -> RasterSource[Image] | None:
    """Return the image of a kind that belongs to a Z image: of its step or, as correlations are, of the one before."""
    step, stem = int(z["step"]), z["stem"]
    names = [f"{kind}_{stem}_Num_{number}.tif" for number in (step, step - 1)]
    file = one_of(path, *names)
    return None if file is None else open_image(file, in_camera=True)
