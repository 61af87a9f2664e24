"""Which files are opened as rasters, and by which GDAL driver: decided by content, never by name, never off this disk.

GDAL reads some 150 formats. Many are descriptions that make it fetch from the network or read files elsewhere, whatever
the file is called. Here the first bytes choose one driver of a short list; everything else is refused in a sentence.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from refbench.contracts.errors import InputError, MissingFileError
from refbench.files.gdal_path import GdalPath, shown
from refbench.formats.raster_wholeness import missing_part, png_is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE_BYTES = 128 << 20
STRIP_CACHE_BYTES = 64 << 20
"""Enough where rasters are read in strips from top to bottom."""
HEAD_BYTES = 4096
MAX_VRT_BYTES = 16 << 20
FAILURES = (RasterioError, CPLE_BaseError, OSError, ValueError, MemoryError)
"""What GDAL's bindings raise for damaged files."""

_PIXEL_FORMATS = {
    b"II*\0": "GTiff", b"MM\0*": "GTiff", b"II+\0": "GTiff", b"MM\0+": "GTiff", b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG", b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG", b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"EHFA_HEADER_TAG": "HFA",
}  # fmt: skip
"""First bytes of formats that hold their own pixels."""
_ARRAYS = {b"\x89HDF\r\n\x1a\n": "HDF5", b"CDF\x01": "netCDF", b"CDF\x02": "netCDF", b"CDF\x05": "netCDF"}
"""First bytes of containers: they may name other files, so only their subdatasets are listed."""
_GRID_KEYS = rb"\s*(ncols|nrows|xllcorner|yllcorner|xllcenter|yllcenter|cellsize|dx|dy)\s"
_OFFLINE: dict[str, Any] = {
    # Nothing listens on the discard port: what GDAL still tries to fetch ends at once on this machine.
    "GDAL_HTTP_PROXY": "http://127.0.0.1:9", "GDAL_HTTPS_PROXY": "http://127.0.0.1:9", "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_HTTP_CONNECTTIMEOUT": "1", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
}  # fmt: skip
_STRICT: dict[str, Any] = {
    # Half a JPEG and a raw file that is too short are errors, not grey or zero pixels.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES", "RAW_CHECK_FILE_SIZE": "YES",
}  # fmt: skip
_ONLINE: dict[str, Any] = {
    # One file is asked for, and no other beside it.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_CONNECTTIMEOUT": "15", "GDAL_HTTP_TIMEOUT": "300",
}  # fmt: skip
_GDAL_PATH_DRIVERS = ["GTiff", "PNG", "JPEG", "JP2OpenJPEG", "HFA", "AAIGrid", "DTED"]
"""Drivers for what lies in archives and on the network: those that read their own pixels, and nothing else."""
_PLAIN_SOURCES = {"SimpleSource", "ComplexSource", "AveragedSource", "NoDataSource"}


_cache_bytes: ContextVar[int] = ContextVar("cache_bytes", default=CACHE_BYTES)


@contextmanager
def block_cache(number: int) -> Iterator[None]:
    """Let GDAL keep at most so many bytes of blocks while rasters are read within."""
    token = _cache_bytes.set(number)
    try:
        yield
    finally:
        _cache_bytes.reset(token)


def raster_env(path: Path | None = None) -> Any:  # noqa: ANN401  # rasterio carries no types
    """Return the environment in which rasters are read: a small block cache, and no network but for a path of it.

    GDAL would take 5 % of the machine's memory, which no memory budget of a run knows of; the user's ``GDAL_CACHEMAX``
    goes first.
    """
    cache = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": _cache_bytes.get()}
    if isinstance(path, GdalPath) and path.is_network:
        options = {key: value for key, value in _ONLINE.items() if key not in os.environ}
        return rasterio.Env(**_STRICT, **options, **cache)
    return rasterio.Env(**_STRICT, **_OFFLINE, **cache)


def open_dataset(path: str | Path) -> Any:  # noqa: ANN401  # rasterio carries no types
    """Return the opened rasterio dataset of a file on this disk.

    Raises
    ------
    MissingFileError
        There is no such file.
    InputError
        The file is of no format that is read here, describes pixels that lie elsewhere, holds several rasters, or is
        damaged; nothing that it names was opened.
    """
    _quieten_rasterio()
    if isinstance(path, GdalPath):
        return _open_gdal_path(path)
    path = Path(path)
    driver = driver_of(path)
    if driver == "PNG" and not png_is_whole(path):
        raise InputError(f"{path} cannot be read as a raster: the PNG is cut off or damaged.")
    try:
        with raster_env(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            # An absolute path is never taken for one of GDAL's "PREFIX:..." names.
            dataset = rasterio.open(path.absolute(), driver=driver)
            subdatasets, count = list(dataset.subdatasets), dataset.count
            _check_overview_file(path, dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", ""))
    except InputError:
        raise
    except FAILURES as error:
        raise InputError(f"{path} cannot be read as a raster: {reason(error)}.") from error
    if driver in _ARRAYS.values():
        raise InputError(_array_refusal(path, driver, subdatasets))
    if count == 0:
        raise InputError(f"{path} holds no raster band{_named(subdatasets)}.")
    if (missing := missing_part(path, driver, dataset)) is not None:
        raise InputError(f"{path} cannot be read as a raster: {missing}.")
    return dataset


def _open_gdal_path(path: GdalPath) -> Any:  # noqa: ANN401  # rasterio carries no types
    """Return the opened dataset of a path of a virtual file system, by a driver that reads its own pixels."""
    try:
        with raster_env(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = _by_its_driver(path.gdal_name)
            overviews = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", "")
    except (*FAILURES, InputError) as error:
        said = shown_in(reason(error), path)
        if "does not exist" in said or "No such file" in said or "code: 404" in said:
            raise MissingFileError(f"There is no raster {path}.") from None  # the cause names the whole of it
        raise InputError(f"{path} cannot be read as a raster: {said}.") from None
    if overviews:
        raise InputError(f"{path} names overviews elsewhere ({overviews[:80]!r}); it is refused.")
    return dataset


def _by_its_driver(name: str) -> Any:  # noqa: ANN401  # rasterio carries no types
    """Return the dataset by the first driver that knows its content; GDAL keeps what it has fetched."""
    for driver in _GDAL_PATH_DRIVERS:
        try:
            return rasterio.open(name, driver=driver)
        except RasterioError as error:
            if "not recognized" not in reason(error) or "does not exist" in reason(error):
                raise
    raise InputError(f"its content is none of {', '.join(_GDAL_PATH_DRIVERS)}")


def shown_in(text: str, path: Path) -> str:
    """Return what GDAL says of a path with its name as it may be printed."""
    name = getattr(path, "gdal_name", None)
    if name is None:
        return text
    for secret in (name, re.sub(r"^/vsi[a-z0-9_]+/", "", name)):
        text = text.replace(secret, str(path))
    return re.sub(r"[?][^\s'\"]*", "", text)


def driver_of(path: str | Path) -> str:
    """Return the GDAL driver for the content of a file.

    Raises
    ------
    MissingFileError
        There is no such file.
    InputError
        Its content is of no format that is read here, or it points to pixels elsewhere.
    """
    path = Path(path)
    head = _head(path)
    for table in (_PIXEL_FORMATS, _ARRAYS):
        for magic, driver in table.items():
            if head.startswith(magic):
                _check_sidecars(path)
                return driver
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<", b"{")) or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        _check_description(path, text)
        return "VRT"
    if b"<VRTDataset" not in head and (found := _bare_grid(path, head)) is not None:
        _check_sidecars(path)
        return found
    known = "GeoTIFF, PNG, JPEG, JPEG 2000, Erdas Imagine, DTED, Esri ASCII grid, XYZ, and ENVI or EHdr with header"
    raise InputError(f"{path} cannot be read as a raster: its content is none of {known}.")


def is_raster(path: str | Path) -> bool:
    """Return whether a file is a raster that is read here, by its first bytes."""
    try:
        return bool(driver_of(path))
    except InputError:
        return False


def _head(path: Path) -> bytes:
    if "\0" in str(path):
        raise InputError(f"The path {str(path)!r} holds a NUL character; no file can have that name.")
    if re.match(r"/vsi|[A-Za-z0-9+]{2,}:/", str(path)) and not path.parent.is_dir():
        raise MissingFileError(
            f"{shown(str(path))} is no file on this disk; GDAL's /vsi paths and URLs are opened only where the command "
            "line names them, or a text in Python, or a scene file with --trust."
        )
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; name the raster file in it.")
        if not path.is_file():
            raise MissingFileError(f"There is no file {path}.")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        if isinstance(error, MissingFileError):
            raise
        name = str(path) if len(str(path)) < 300 else f"{str(path)[:100]}..."
        raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error


def _quieten_rasterio() -> None:
    """Keep rasterio's log callback from printing a traceback where GDAL quotes bytes of a damaged file."""
    previous = sys.unraisablehook
    if getattr(previous, "refbench", False):
        return

    def hook(event: Any, /) -> None:  # noqa: ANN401  # sys.UnraisableHookArgs
        if not (event.exc_type is UnicodeDecodeError and "rasterio._env" in str(event.object)):
            previous(event)

    hook.refbench = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook


def _bare_grid(path: Path, head: bytes) -> str | None:
    """Return the driver of a grid without a magic number: text, DTED, or raw numbers beside a header; else None."""
    if re.match(_GRID_KEYS, head, re.IGNORECASE):
        return "AAIGrid"
    if head.startswith((b"UHL1", b"VOL1", b"HDR1")):
        return "DTED"
    if head and b"\0" not in head and re.match(rb"\s*[\"A-Za-z,;\t ]*\s*([-+.\deE]+[\s,;]+){2}[-+.\deE]+\s", head):
        return "XYZ"
    for header in (path.with_suffix(".hdr"), path.with_suffix(".HDR"), path.with_name(f"{path.name}.hdr")):
        if header != path and header.is_file():
            with header.open("rb") as file:
                text = file.read(HEAD_BYTES).lstrip().upper()
            return "ENVI" if text.startswith(b"ENVI") else "EHdr" if b"NROWS" in text else None
    return None


def _check_sidecars(path: Path) -> None:
    """Refuse a mask or overview file beside the raster that is no plain raster: GDAL would open it by any driver."""
    for suffix in (".msk", ".ovr", ".aux", ".rrd"):
        for name in {f"{path.name}{suffix}", f"{path.stem}{suffix}", f"{path.name}{suffix.upper()}"}:
            side = path.with_name(name)
            if side != path and side.is_file() and not _holds_pixels(side):
                raise InputError(f"{side}, which belongs to {path.name}, is no plain raster; remove or repair it.")


def _holds_pixels(path: Path) -> bool:
    return _head(path).startswith(tuple(_PIXEL_FORMATS))


def _check_overview_file(path: Path, name: str) -> None:
    """Refuse overviews that the file's own metadata places elsewhere."""
    plain = name.removeprefix(":::BASE:::")
    if plain and (re.search(r"[/\\:<]", plain) or not _holds_pixels(path.with_name(plain))):
        raise InputError(f"{path} names overviews elsewhere ({name[:80]!r}); they were not opened, and it is refused.")


def _check_description(path: Path, text: bytes) -> None:
    """Refuse XML and JSON that stand for pixels elsewhere; a VRT passes where its sources lie beside it."""
    root = re.match(rb"(?:<\?[^>]*\?>|<!--.*?-->|\s)*<\s*([A-Za-z_][\w.:-]*)", text, re.DOTALL)
    if root is None or root[1] != b"VRTDataset":
        what = f"a <{root[1].decode()[:40]}> description" if root else "a text description"
        raise InputError(f"{path} is {what}, not a raster; nothing that it points to was opened or fetched.")
    tree = _vrt_tree(path)
    if any(node.get("subClass", "VRTSourcedRasterBand") != "VRTSourcedRasterBand" for node in tree.iter()):
        raise InputError(f"{path} is a VRT that computes or reads raw pixels; turn it into a GeoTIFF first.")
    for node in tree.iter():
        if node.tag in ("Group", "OpenOptions", "GDALWarpOptions", "SourceDataset", "SourceProperties/OpenOptions") or (
            node.tag.endswith("Source") and node.tag not in _PLAIN_SOURCES
        ):
            raise InputError(f"{path} is a VRT with <{node.tag}>, which is not read; turn it into a GeoTIFF first.")
        if node.tag == "SourceFilename":
            _check_source(path, node)


def _vrt_tree(path: Path) -> ElementTree.Element:
    if path.stat().st_size > MAX_VRT_BYTES:
        raise InputError(f"{path} is a VRT of more than {MAX_VRT_BYTES >> 20} MiB; turn it into a GeoTIFF first.")
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise InputError(f"{path} is a VRT with a document type or entities, which is refused.")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is a damaged VRT: {error}.") from error


def _check_source(path: Path, node: ElementTree.Element) -> None:
    """Refuse a source of a VRT that does not lie in the VRT's folder or is no plain raster."""
    name, folder = (node.text or "").strip(), path.absolute().parent
    place = folder / name if node.get("relativeToVRT", "0") == "1" else Path(name).absolute()
    inside = place.resolve().is_relative_to(folder.resolve()) and not re.search(r"[:<]|^/vsi", name)
    if not inside:
        raise InputError(f"{path} is a VRT whose source {name[:80]!r} lies outside its folder; nothing was opened.")
    if not place.is_file() or not _holds_pixels(place):
        raise InputError(f"{path} is a VRT whose source {name[:80]!r} is missing or no plain raster.")
    _check_sidecars(place)


def _array_refusal(path: Path, driver: str, subdatasets: list[str]) -> str:
    return (
        f"{path} is {driver}, which is not read directly{_named(subdatasets)}; convert the one that holds the raster, "
        "for example with gdal_translate, to GeoTIFF."
    )


def _named(subdatasets: list[str]) -> str:
    names = [text.rpartition("://")[2] if "://" in text else text.rpartition(":")[2] for text in subdatasets]
    return f"; it holds the subdatasets {', '.join(names[:8])}" + (" …" if len(names) > 8 else "") if names else ""


def reason(error: BaseException) -> str:
    """Return the deepest cause of a rasterio error on one line, without its full stop."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
