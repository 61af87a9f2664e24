"""What plugins and programs may import: these modules and their public names. Everything else may change at any time.

The names are those of ``__all__``, else those that the module itself defines without a leading underscore. A name that
is added, changed or removed needs a line in ``CHANGELOG.md``; ``tests/public_names.txt`` holds the present ones.
"""

from __future__ import annotations

PUBLIC_MODULES: tuple[str, ...] = (
    # What plugins are made of.
    "refbench",
    "refbench.contracts.camera",
    "refbench.contracts.errors",
    "refbench.contracts.official",
    "refbench.contracts.source",
    # Training and its checkpoints; tests of plugins.
    "refbench.training",
    "refbench.testing",
    "refbench.testing.scenes",
    # Weights folders and checkpoints of other programs.
    "refbench.weights.checkpoint",
    "refbench.weights.state_dict",
    "refbench.weights.weights_folder",
    # Scenes, files and formats.
    "refbench.scenes.cut",
    "refbench.scenes.from_files",
    "refbench.scenes.scene_yaml",
    "refbench.files.atomic",
    "refbench.files.yaml_text",
    "refbench.formats.camera_files",
    "refbench.formats.cloud",
    "refbench.formats.cloud_write",
    "refbench.formats.raster",
    "refbench.formats.raster_write",
    # Geometry.
    "refbench.geometry.affine_camera",
    "refbench.geometry.camera_model",
    "refbench.geometry.cameras",
    "refbench.geometry.depth",
    "refbench.geometry.fuse",
    "refbench.geometry.ortho",
    "refbench.geometry.rasterise",
    "refbench.geometry.rpc",
    "refbench.geometry.sample",
)
