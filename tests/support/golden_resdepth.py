"""What lies in ``$REFBENCH_GOLDEN/resdepth``: the parity tests find their cases here and nowhere else."""

from __future__ import annotations

import json
from functools import partial

from golden import cases as cases
from golden import files_of, folder_of, manifest_of
from golden import fill as fill
from golden import load_json as load_json
from golden import load_npz as load_npz

from refbench_resdepth.config import ModelConfig
from refbench_resdepth.network.network import UNet

METHOD = "resdepth"

golden_folder = partial(folder_of, METHOD)
manifest = partial(manifest_of, METHOD)
files = partial(files_of, METHOD)

CLASS_DEFAULTS = {
    "start_kernel": 64, "max_filter_depth": 512, "depth": 8, "do_BN": True, "bias_conv_layer": False,
    "outer_skip": True, "outer_skip_BN": False,
}  # fmt: skip
"""Of the official class; they differ from those of its configurations."""


def network(settings_json):
    """The network of official constructor settings."""
    settings = {**CLASS_DEFAULTS, **json.loads(str(settings_json))}
    channels = settings.pop("n_input_channels", 1)
    modes = {1: "geom", 2: "geom-mono", 3: "geom-stereo"}
    mode = modes.get(channels, "geom-multiview")
    if not settings["outer_skip"] and channels == 2:
        mode = "stereo"
    views = {"n_views": channels - 1} if mode == "geom-multiview" else {}
    return UNet(ModelConfig(input_channels=mode, **settings, **views))
