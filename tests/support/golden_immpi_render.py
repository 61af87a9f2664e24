"""What the parity tests of ImMPI's rendering, losses and metrics share."""

from functools import cache, partial

import torch
from golden import files_of, fill, load_npz, manifest_of

from refbench_immpi.losses.lpips import Lpips
from refbench_immpi.network.encoding import inverse_depth_planes

METHOD = "immpi"

files = partial(files_of, METHOD)


def about(path):
    """What the manifest says of a file."""
    return manifest_of(METHOD).get(path.name, {})


def tensors(path):
    """All arrays of a file as tensors of their own."""
    return {name: torch.from_numpy(values).clone() for name, values in load_npz(path).items()}


def planes_of(data):
    """Depths of the planes of a rendering file [B, D]."""
    return inverse_depth_planes(data["depth_min"], data["depth_max"], data["mpi_rgb"].shape[1])


def scene_of(data):
    """What ``render`` takes after colours and densities."""
    shape = tuple(data["render_hw"].tolist())
    return planes_of(data), data["T_tgt_ref"], data["K_ref"], data["K_tgt"], shape


@cache
def recipe_lpips():
    """LPIPS with the recipe's weights: those of the linear layers without their sign, the scaling as it is."""
    net = Lpips()
    scaling = {name: value.clone() for name, value in net.scaling_layer.state_dict().items()}
    fill(net)
    net.scaling_layer.load_state_dict(scaling)
    with torch.no_grad():
        for weight in net.lins.parameters():
            weight.abs_()
    return net
