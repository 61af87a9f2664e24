"""What the parity tests of ImMPI share: golden files, networks filled by the recipe."""

import json
from functools import cache

import numpy as np
import torch
from golden import fill, folder_of, load_npz, manifest_of

from refbench_immpi.config import NetworkConfig
from refbench_immpi.network.network import MPIGenerator
from refbench_immpi.network.resnet import FeatureGenerator

FOLDER = folder_of("immpi")
MANIFEST = manifest_of("immpi")
WIDTHS = {"resnet18": (64, 64, 128, 256, 512), "resnet50": (64, 256, 512, 1024, 2048)}


def config_of(kind, encoding="scrambled"):
    return NetworkConfig(encoder=kind, encoder_widths=WIDTHS[kind], encoding=encoding)


@cache
def _filled(kind, which):
    config = config_of(kind)
    return fill(FeatureGenerator(config) if which == "encoder" else MPIGenerator(config)).state_dict()


def networks(kind, *, train):
    """Fresh encoder and generator with the recipe's weights."""
    config = config_of(kind)
    made = []
    for which, network in (("encoder", FeatureGenerator), ("generator", MPIGenerator)):
        with torch.device("meta"):
            net = network(config)
        net.load_state_dict({k: v.clone() for k, v in _filled(kind, which).items()}, assign=True)
        made.append(net.train(train).requires_grad_(True))
    return made


def image(arrays, name="image_u8"):
    """[B, 3, H, W] float32 in [0, 1]."""
    return torch.from_numpy(arrays[name].astype(np.float32) / np.float32(255))


def arrays_of(path):
    return load_npz(path)


def of_manifest(path, key, default=None):
    return MANIFEST.get(path.name, {}).get(key, default)


def load(path):
    return json.loads(path.read_text())
