"""Names of things as names of files."""

from __future__ import annotations


def as_file_name(name: str) -> str:
    """Return a name with ``_`` for what parts folders: views may be called by a path, such as ``cam0/0001.png``."""
    return name.replace("/", "_").replace("\\", "_")
