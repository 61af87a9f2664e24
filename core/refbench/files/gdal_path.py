"""Paths of GDAL's virtual file systems (``/vsizip/…``, ``/vsicurl/…``) and URLs, where the user names them.

A ``GdalPath`` is the permission to open what it names: it is made from the user's own words (the command line, an
argument in Python, a scene file with ``--trust``) and from nothing else. A plain ``Path`` of such a name is refused by
the readers, so that no file can make the program fetch anything.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from typing import Any

TRUST_VARIABLE = "REFBENCH_TRUST"
"""Environment variable that lets scene files name such paths; ``--trust`` sets it."""
_NAME = re.compile(r"/vsi[a-z0-9_]+[/?]|(https?|ftp|s3|gs|az|adl|oss|swift)://?", re.IGNORECASE)
_NETWORK = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(_streaming)?[/?]", re.IGNORECASE)
_ARCHIVE = re.compile(r"(/vsi(?:zip|tar|gzip|7z|rar)/)(?![/{]|vsi)(.*)", re.IGNORECASE)
_SCHEMES = {
    "http": "/vsicurl/http://", "https": "/vsicurl/https://", "ftp": "/vsicurl/ftp://", "s3": "/vsis3/",
    "gs": "/vsigs/", "az": "/vsiaz/", "adl": "/vsiadls/", "oss": "/vsioss/", "swift": "/vsiswift/",
}  # fmt: skip


def is_gdal_name(text: str | Path) -> bool:
    """Return whether a text is a path of a virtual file system or a URL; what lies on this disk goes first."""
    name = str(text)
    return _NAME.match(name) is not None and not ("\0" not in name and os.path.lexists(name))


def shown(text: str) -> str:
    """Return a name as it may be printed and kept: without query, fragment, user and password."""
    return re.sub(r"(://)[^/@]*@", r"\1", re.sub(r"[?#].*", "", text, flags=re.DOTALL))


def printable(text: str) -> str:
    """Return a text as it is, or as ``shown`` where it is a name of GDAL's or a URL."""
    return shown(text) if is_gdal_name(text) else text


class GdalPath(type(Path())):  # type: ignore[misc]  # the concrete class of this system
    """A raster in a virtual file system. ``gdal_name`` is what GDAL opens; as text it has no query and no password."""

    gdal_name: str

    def __new__(cls, *words: str) -> GdalPath:
        """Take a name of GDAL's, or a URL; relative archives are those of the current folder."""
        if len(words) != 1 or not _NAME.match(str(words[0])):  # a parent, or a path joined to one
            return super().__new__(cls, *words)  # type: ignore[no-any-return]
        name = _full_name(str(words[0]))
        made = super().__new__(cls, shown(name))
        made.gdal_name = name
        return made  # type: ignore[no-any-return]

    def __str__(self) -> str:
        """Return the name without secrets."""
        name = getattr(self, "gdal_name", None)
        return super().__str__() if name is None else shown(name)

    def __fspath__(self) -> str:
        """Return the name without secrets; nothing of this name lies on this disk."""
        return str(self)

    def as_posix(self) -> str:
        """Return the name without secrets."""
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the name between processes."""
        return GdalPath, (getattr(self, "gdal_name", str(self)),)

    @property
    def is_network(self) -> bool:
        """Whether opening it reaches beyond this machine."""
        return _NETWORK.search(self.gdal_name) is not None

    @property
    def archive(self) -> Path | None:
        """The file on this disk that holds it; None where there is none."""
        found = re.match(r"/vsi[a-z0-9]+/\{?(.*)", self.gdal_name, re.IGNORECASE)
        place = PurePath(re.sub(r"\}.*", "", found[1])) if found else PurePath()
        return next((Path(part) for part in (place, *place.parents) if Path(part).is_file()), None)


def _full_name(name: str) -> str:
    """Return the name that GDAL opens: URLs by their virtual file system, archives by their absolute path."""
    # A ``Path`` has made one slash of two.
    name = re.sub(r"\b(https?|ftp|s3|gs|az|adl|oss|swift):/(?!/)", r"\1://", name)
    scheme, colon, rest = name.partition("://")
    if colon and scheme.lower() in _SCHEMES:
        return _SCHEMES[scheme.lower()] + rest
    archive = _ARCHIVE.match(name)
    if archive is None:
        return name
    rooted = Path(f"/{archive[2]}")
    # ``/vsizip//a/b.zip`` has lost a slash where it was a ``Path``.
    known = any(part.is_file() for part in (rooted, *rooted.parents))
    return archive[1] + str(rooted if known else Path(archive[2]).absolute())


def own_path(text: str | Path) -> Path:
    """Return a path that the user named: a ``GdalPath`` where it is one of GDAL's or a URL."""
    if isinstance(text, GdalPath) or not is_gdal_name(text):
        return text if isinstance(text, Path) else Path(text)
    return GdalPath(str(text))


def full_text(path: Path) -> str:
    """Return all of a path for another process: ``own_path`` leads back to it."""
    return getattr(path, "gdal_name", None) or str(path)


def trusts_files() -> bool:
    """Return whether files of a scene may name paths of virtual file systems."""
    return os.environ.get(TRUST_VARIABLE, "") not in ("", "0")
