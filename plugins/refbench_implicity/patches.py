"""Batches of patches with unequal point counts, and the network's view of them.

Letters: P points of all patches together, B patches, M queries per patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from refbench.contracts.errors import InputError
from refbench.geometry.torch_scatter_ops import scatter_mean
from refbench_implicity.network.network import ImpliCityNet, Planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_implicity.training.dataset import PatchItem

Batch = dict[str, "Tensor"]
"""``points`` [P, 3], ``owner`` int64 [P], ``query`` [B, M, 3], ``labels`` [B, M], ``mask_*`` bool [B, M], ``image``."""


def collate(items: Sequence[PatchItem]) -> Batch:
    """Return the batch of some patches; they must have the same number of queries.

    Raises
    ------
    InputError
        The query counts differ.
    """
    counts = {len(item.query) for item in items}
    if len(counts) > 1:
        raise InputError(
            f"Patches of one batch have {sorted(counts)} queries: set dataset.n_query_points or batch_size 1."
        )
    owner = np.repeat(np.arange(len(items)), [len(item.inputs) for item in items])
    batch = {
        "points": torch.from_numpy(np.concatenate([item.inputs for item in items])),
        "owner": torch.from_numpy(owner),
        "query": _stacked([item.query for item in items]),
        "labels": _stacked([item.labels for item in items]),
    }
    batch |= {f"mask_{key}": _stacked([item.masks[key] for item in items]) for key in items[0].masks}
    if items[0].image is not None:
        batch["image"] = _stacked([item.image for item in items if item.image is not None])
    return batch


def _stacked(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def encode_patches(model: ImpliCityNet, points: Tensor, owner: Tensor, patches: int, image: Tensor | None) -> Planes:
    """Return the planes of patches with any number of points each; the same numbers as one ``encode`` per patch.

    Parameters
    ----------
    model
        The network.
    points, owner
        [P, 3] in the patch frame, and the patch that each belongs to.
    patches
        Number of patches, B.
    image
        [B, n, H, W] or None.
    """
    encoder = model.points_module
    size = encoder.resolution
    index = (points[:, :2] * size).long()
    cells = index[:, 0] + size * index[:, 1] + owner * size**2
    net = encoder.blocks[0](encoder.fc_pos(points))
    for block in encoder.blocks[1:]:
        net = block(torch.cat((net, encoder.pool(net, cells, patches * size**2)[cells]), dim=1))
    mean = scatter_mean(encoder.fc_c(torch.relu(net)), cells, patches * size**2)
    plane = mean.reshape(patches, size, size, -1).permute(0, 3, 1, 2).contiguous()
    plane = plane if encoder.unet is None else encoder.unet(plane)
    if model.config.image_encoder is None:
        return Planes(plane)
    if image is None:
        raise InputError("This network sees images, the data set has none.")
    return Planes(plane, model.image_encoder(image).flip(-2))
