"""RPCs as OSSIM (``.geom``), Airbus (DIMAP, versions 1 to 3) and Maxar (WorldView XML) write them, under GDAL's names.

What differs is where the first pixel is: (0, 0) is its centre here, in ``.geom`` and in WorldView XML; DIMAP 1 and 2
call that centre (1, 1), DIMAP 3 counts from the corner, so that it is (0.5, 0.5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from refbench.contracts.errors import InputError
from refbench.geometry.rpc_tags import OFFSETS, POLYNOMIALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_BYTES = 16 << 20
FIRST_PIXEL = {1: 1.0, 2: 1.0, 3: 0.5}
"""Version of DIMAP -> what it calls the centre of the first pixel."""
_V1_AXES = {"line": "Row", "samp": "Col", "lat": "Lat", "long": "Lon", "height": "Alt"}
_V1_CUBICS = {"line": "F_ROW", "samp": "F_COL"}


def tags_of_geom(text: str) -> dict[str, Any]:
    """Return the RPC of an OSSIM keyword list: ``line_num_coeff_00:  0.1`` and so on, coefficients from 0.

    Raises
    ------
    InputError
        It holds no RPC model.
    """
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    words = {key.strip().lower(): value.strip() for key, value in pairs}
    # Projects keep a model under a prefix, such as ``support_data.line_off``.
    held = {key.rpartition(".")[2]: value for key, value in words.items()}
    if "line_off" not in held:
        raise InputError(f"It is no RPC model of OSSIM (type: {held.get('type', 'none')[:60]}): it lacks line_off.")
    tags: dict[str, Any] = {name: held.get(name) for name in OFFSETS}
    for name in POLYNOMIALS:
        found = [held.get(f"{name}_{k:02d}") for k in range(20)]
        tags[name] = found if None not in found else None
    return _known(tags)


def tags_of_xml(text: str) -> dict[str, Any]:
    """Return the RPC of a DIMAP or a WorldView document.

    Raises
    ------
    InputError
        It is neither, declares a document type, or is too large.
    """
    if len(text) > MAX_BYTES or re.search(r"<!(DOCTYPE|ENTITY)", text):
        raise InputError("It is no RPC of an image: it is too large or declares a document type.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"It is not valid XML: {error}.") from error
    if (image := root.find(".//RPB/IMAGE")) is not None:
        return _worldview(image)
    if (model := next((node for node in root.iter("Global_RFM")), None)) is not None:
        return _dimap_1(model) if model.find(".//F_ROW") is not None else _dimap(model, _version(root))
    raise InputError("It holds no RPC: neither Global_RFM (DIMAP) nor RPB/IMAGE (WorldView).")


def _known(tags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tags.items() if value is not None}


def _texts(node: ElementTree.Element, names: Iterable[str]) -> list[str] | None:
    """Return the texts of descendants, None where one is missing."""
    found = [node.findtext(f".//{name}") for name in names]
    return None if None in found else [str(text) for text in found]


def _worldview(image: ElementTree.Element) -> dict[str, Any]:
    def name_of(key: str) -> str:
        axis, kind = key.split("_", 1)
        return f"{axis}{ {'off': 'offset', 'scale': 'scale'}[kind] }".upper()

    tags: dict[str, Any] = {key: image.findtext(f".//{name_of(key)}") for key in OFFSETS}
    for key in POLYNOMIALS:
        axis, part, _ = key.split("_")
        tags[key] = image.findtext(f".//{axis}{part}coef".upper())
        if tags[key] is None:  # the list's own element in newer files: LINENUMCOEFList/LINENUMCOEF
            tags[key] = image.findtext(f".//{axis.upper()}{part.upper()}COEFList/{axis.upper()}{part.upper()}COEF")
    return _known(tags)


def _version(root: ElementTree.Element) -> int:
    """Return the major version of a DIMAP document; 2 where it names none."""
    node = next((node for node in root.iter("METADATA_FORMAT")), None)
    text = "" if node is None else node.get("version", "")
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 2


def _dimap(model: ElementTree.Element, version: int) -> dict[str, Any]:
    """Return the inverse model (ground to image) of DIMAP 2 or 3."""
    if version not in FIRST_PIXEL:
        raise InputError(f"It is DIMAP of version {version}; versions {', '.join(map(str, FIRST_PIXEL))} are read.")
    inverse = model.find("Inverse_Model")
    if inverse is None:
        inverse = model.find("GroundtoImage_Values")
    validity = model.find("RFM_Validity")
    if inverse is None or validity is None:
        raise InputError("Its Global_RFM lacks the inverse model (ground to image) or RFM_Validity.")
    tags: dict[str, Any] = {key: validity.findtext(f".//{key.upper()}") for key in OFFSETS}
    for key in POLYNOMIALS:
        tags[key] = _texts(inverse, [f"{key.upper()}_{k}" for k in range(1, 21)])
    return _moved(tags, FIRST_PIXEL[version])


def _dimap_1(model: ElementTree.Element) -> dict[str, Any]:
    """Return the model of DIMAP 1: 20 coefficients above, 20 below, offset B and scale A of every axis."""
    tags: dict[str, Any] = {}
    for axis, name in _V1_AXES.items():
        tags[f"{axis}_scale"] = model.findtext(f".//RFM_Validity//{name}/A")
        tags[f"{axis}_off"] = model.findtext(f".//RFM_Validity//{name}/B")
    for axis, name in _V1_CUBICS.items():
        numbers = (model.findtext(f".//{name}") or "").split()
        if len(numbers) != 40:
            raise InputError(f"Its {name} holds {len(numbers)} numbers, not 40.")
        tags[f"{axis}_num_coeff"], tags[f"{axis}_den_coeff"] = numbers[:20], numbers[20:]
    return _moved(tags, FIRST_PIXEL[1])


def _moved(tags: dict[str, Any], first_pixel: float) -> dict[str, Any]:
    """Return tags whose first pixel has its centre at 0."""
    for key in ("line_off", "samp_off"):
        try:
            tags[key] = None if tags[key] is None else float(str(tags[key]).split()[0]) - first_pixel
        except (ValueError, IndexError) as error:
            raise InputError(f"RPC {key.upper()} must be a number, got {tags[key]!r}.") from error
    return _known(tags)
