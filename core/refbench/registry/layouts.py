"""Records of the layouts that refbench itself reads, in the order in which folders are held against them."""

from __future__ import annotations

from refbench.registry.records import ImporterRecord

_IMPORTERS, _EXPORTERS = "refbench.scenes.importers", "refbench.scenes.exporters"


def _layout(name: str, summary: str, *, is_written: bool = False) -> ImporterRecord:
    """Return the record of a layout, whose modules in ``scenes.importers`` and ``scenes.exporters`` have its name."""
    word = name.replace("-", "_")
    module, writer = f"{_IMPORTERS}.{word}", f"{_EXPORTERS}.{word}:write_{word}" if is_written else ""
    return ImporterRecord(name, f"{module}:open_{word}", f"{module}:is_{word}_folder", summary, writer)


LAYOUTS = (
    _layout(
        "cars",
        "Output folder of CARS 1.x: DSM, ortho, clouds, quality rasters.",
        is_written=True,
    ),
    _layout(
        "s2p",
        "Output folder of s2p or s2p-hd: DSM, confidence, clouds, images.",
        is_written=True,
    ),
    _layout(
        "odm",
        "Project of OpenDroneMap: DSM, orthophoto, cloud, images.",
        is_written=True,
    ),
    _layout("opensfm", "OpenSfM data set: images beside reconstruction.json."),
    _layout("asp", "Output of the Ames Stereo Pipeline: DEM, ortho, errors, cloud.", is_written=True),
    _layout("micmac", "MEC folder of MicMac: last Z image, correlation, mask.", is_written=True),
    _layout("transforms-json", "transforms.json of nerfstudio or instant-ngp: posed images, depth maps, a cloud."),
    _layout("eth3d", "ETH3D multi-view scene: undistorted images and their calibration."),
    _layout("colmap", "A COLMAP reconstruction: images beside a sparse model, text or binary."),
)
