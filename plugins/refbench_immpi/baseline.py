"""What a novel view must beat: the nearest image warped by one plane at its median depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench_immpi.losses.image_metrics import lpips_distance, psnr, ssim_standard, ssim_zero_padded
from refbench_immpi.planes.render import render
from refbench_immpi.views.pairs import nearest_reference
from refbench_immpi.views.posed import relative_pose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench_immpi.losses.lpips import Lpips
    from refbench_immpi.views.posed import Posed

OPAQUE = 1e6


def warped_by_plane(source: Posed, target: Posed, depth: float) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the image of ``source`` as ``target`` sees it on a plane, [3, h, w], and where it is seen [h, w].

    Colours in [0, 1]; ``depth`` in metres.
    """
    rgb = torch.from_numpy(source.image)[None, None]
    pose = torch.from_numpy(relative_pose(source, target))[None]
    K = [torch.from_numpy(view.K)[None] for view in (source, target)]
    sigma = torch.full((1, 1, 1, *source.shape), OPAQUE)
    view = render(rgb, sigma, torch.tensor([[depth]], dtype=torch.float32), pose, K[0], K[1], target.shape)
    return view.rgb[0].numpy(), view.mask[0, 0].numpy() > 0


def held_out_scores(
    target: Posed,
    rendered: NDArray[np.float32],
    seen: NDArray[np.bool_],
    learnt: Sequence[Posed],
    median_depths: dict[str, float],
    lpips: Lpips | None = None,
) -> dict[str, Any]:
    """Return the scores of a held-out view and of the baseline, both on the pixels that both see.

    Parameters
    ----------
    target
        The view.
    rendered, seen
        [3, h, w] in [0, 1] and where planes cover it [h, w].
    learnt
        The views that were learnt from.
    median_depths
        Of their own planes, by name; the middle of the range stands in where a view has none.
    lpips
        Adds its distance to the scores.
    """
    source = nearest_reference(target, learnt)
    depth = median_depths.get(source.name, 0.5 * (source.near + source.far))
    warped, covered = warped_by_plane(source, target, depth)
    both = (seen & covered)[None, None].astype(np.float32)
    reference = target.image[None]
    scores: dict[str, Any] = {"pixels": int(both.sum()), "nearest_view": source.name}
    if not both.any():
        return scores
    for name, image in (("immpi", rendered), ("baseline", warped)):
        clean = np.nan_to_num(image)[None]
        scores[name] = {
            "psnr_db": psnr(clean, reference, both),
            "ssim_zero_padded": ssim_zero_padded(clean, reference, both),
            "ssim_standard": ssim_standard(clean, reference, both),
        }
        if lpips is not None:
            scores[name]["lpips"] = lpips_distance(clean, reference, lpips, both)
    return scores
