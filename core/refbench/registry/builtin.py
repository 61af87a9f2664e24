"""What refbench itself registers, as a plugin would: importers of layouts that belong to no method."""

from __future__ import annotations

from refbench.registry.hookspecs import hookimpl
from refbench.registry.records import ImporterRecord


@hookimpl
def refbench_importers() -> list[ImporterRecord]:
    """Return the reader of COLMAP folders."""
    return [
        ImporterRecord(
            name="colmap",
            target="refbench.scenes.importers.colmap:open_colmap",
            recognises="refbench.scenes.importers.colmap:is_colmap_folder",
            summary="A COLMAP reconstruction: images beside a sparse model, text or binary.",
        )
    ]
