"""A small scene, small networks and run folders, for the tests of the DSM enhancer."""

import numpy as np
import torch
from makers import grid_of, refined_by, scene_with

from refbench import Image, Need
from refbench.formats.raster import ArraySource
from refbench_pix2pix.config import GeneratorConfig, InferenceConfig, Pix2PixConfig
from refbench_pix2pix.method import Pix2Pix
from refbench_pix2pix.network.network import Generator

GSD = 0.5


def surface(rows=300, cols=280, base=60.0, seed=0):
    rng = np.random.default_rng(seed)
    heights = base + np.linspace(0, 5, cols)[None] + rng.normal(0, 0.3, (rows, cols))
    heights[40:120, 60:160] += 14
    return heights.astype(np.float32)


def scene_of(heights, ndvi=True, **parts):
    grid = grid_of(*heights.shape, GSD)
    values = np.random.default_rng(1).uniform(-1, 1, (1, *heights.shape)).astype(np.float32)
    source = ArraySource(Image(values, grid)) if ndvi else None
    return scene_with(heights, where={"gsd": GSD}, ndvi=source, **parts)


def method_of(input_nc=2, ngf=4, values=None, **inference):
    torch.manual_seed(0)
    shape = GeneratorConfig(input_nc, 1, ngf)
    method = Pix2Pix(Pix2PixConfig(generator=shape, values=values, inference=InferenceConfig(**inference)))
    for module in method.net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    method.is_trained = True
    return method


def refined(method, scene):
    layers, notes = refined_by(method, scene, needs=(Need.DSM, Need.NDVI))
    return layers["dsm"], notes


def official_run(folder, ngf=4, input_nc=2):
    """A run folder of the official code with a small network."""
    torch.manual_seed(0)
    net = Generator(GeneratorConfig(input_nc, 1, ngf))
    folder.mkdir(parents=True)
    torch.save(net.state_dict(), folder / "latest_net_G.pth")
    lines = ["----------------- Options ---------------", f"{'ngf':>25}: {ngf!s:<30}\t[default: 64]"]
    lines += [f"{'input_nc':>25}: {input_nc!s:<30}", f"{'epoch':>25}: latest", f"{'suffix':>25}: "]
    (folder / "all_opt.txt").write_text("\n".join([*lines, "----------------- End -------------------"]))
    return net.eval()
