"""Records of the layouts that refbench itself reads, in the order in which folders are held against them."""

from __future__ import annotations

from refbench.registry.records import ImporterRecord

_IMPORTERS = "refbench.scenes.importers"


def _layout(name: str, summary: str) -> ImporterRecord:
    """Return the record of a layout whose module has its name: ``open_<name>`` and ``is_<name>_folder``."""
    module, word = f"{_IMPORTERS}.{name.replace('-', '_')}", name.replace("-", "_")
    return ImporterRecord(name, f"{module}:open_{word}", f"{module}:is_{word}_folder", summary)


LAYOUTS = (
    _layout("cars", "Output folder of CARS 1.x: DSM, ortho, clouds, ambiguity, performance, filling, classes."),
    _layout("s2p", "Output folder of s2p or s2p-hd: DSM, confidence, the clouds of all tiles, the images of its run."),
    _layout("odm", "Project of OpenDroneMap: DSM, orthophoto, georeferenced cloud, images of its reconstruction."),
    _layout("opensfm", "OpenSfM data set: images beside reconstruction.json."),
    _layout("asp", "Output of the Ames Stereo Pipeline: DEM, ortho image, intersection error, point cloud."),
    _layout("micmac", "MEC folder of MicMac: the last Z image with its tfw and xml, correlation, mask."),
    _layout("transforms-json", "transforms.json of nerfstudio or instant-ngp: posed images, depth maps, a cloud."),
    _layout("eth3d", "ETH3D multi-view scene: undistorted images and their calibration."),
    _layout("colmap", "A COLMAP reconstruction: images beside a sparse model, text or binary."),
)
