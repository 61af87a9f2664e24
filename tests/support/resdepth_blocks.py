"""A small scene, small networks and run folders, for the tests of ResDepth."""

import json
import pickle

import numpy as np
import torch

from refbench_resdepth.config import ModelConfig
from refbench_resdepth.network.network import UNet
from refbench_resdepth.official.model import official_settings

SMALL = {"depth": 2, "start_kernel": 4}
GSD = 0.25


def surface(rows=40, cols=52, seed=0):
    rng = np.random.default_rng(seed)
    heights = np.full((rows, cols), 410.0) + rng.normal(0, 1, (rows, cols))
    heights[10:25, 10:30] += 12
    return heights


def official_run(folder, mode="geom", **changes):
    """A run folder of the official code with a small network."""
    torch.manual_seed(0)
    net = UNet(ModelConfig(input_channels=mode, **SMALL))
    (folder / "checkpoints").mkdir(parents=True)
    settings = official_settings(net.config)
    settings["settings"] |= changes
    (folder / "model_config.json").write_text(json.dumps(settings))
    (folder / "DSM_normalization_parameters.p").write_bytes(pickle.dumps({"mean": None, "std": 2.5}))
    if mode != "geom":
        (folder / "Image_normalization_parameters.p").write_bytes(pickle.dumps({"mean": 400.0, "std": 90.0}))
    (folder / "config.json").write_text(json.dumps({"training_settings": {"tile_size": 16}}))
    torch.save({"epoch": 3, "model_state_dict": net.state_dict()}, folder / "checkpoints" / "Model_best.pth")
    return net
