"""Rendering a multiplane image, and its losses, as the publication writes them: no sharing, no caching, autograd.

All planes are warped at once, seven channels each.
"""

import torch
import torch.nn.functional as F


def plain_points(planes, T_tgt_ref, K_ref, size):
    """Points of all planes in the target camera [B, D, 3, h, w]."""
    v, u = torch.meshgrid(*(torch.arange(n, dtype=planes.dtype) for n in size), indexing="ij")
    pixels = torch.stack((u, v, torch.ones_like(u))).reshape(3, -1)
    rays = torch.linalg.inv(K_ref) @ pixels
    points = planes[:, :, None, None] * rays[:, None]
    moved = T_tgt_ref[:, None, :3, :3] @ points + T_tgt_ref[:, None, :3, 3:]
    return moved.reshape(*planes.shape, 3, *size)


def plain_homographies(planes, T_tgt_ref, K_ref, K_tgt):
    """Target pixel to reference pixel [B, D, 3, 3]."""
    normal = torch.tensor([[0, 0, 1]], dtype=planes.dtype)
    shift = T_tgt_ref[:, None, :3, 3:] @ normal / planes[:, :, None, None]
    forward = K_tgt[:, None] @ (T_tgt_ref[:, None, :3, :3] + shift) @ torch.linalg.inv(K_ref)[:, None]
    return torch.linalg.inv(forward)


def plain_warp(rgb, sigma, planes, T_tgt_ref, K_ref, K_tgt, shape):
    """The seven channels in the target view [B, D, 7, H, W] and whether they are valid [B, D, H, W]."""
    size = tuple(rgb.shape[3:])
    stacks = torch.cat((rgb, sigma, plain_points(planes, T_tgt_ref, K_ref, size)), dim=2)
    v, u = torch.meshgrid(*(torch.arange(n, dtype=planes.dtype) for n in shape), indexing="ij")
    pixels = torch.stack((u, v, torch.ones_like(u))).reshape(3, -1)
    found = plain_homographies(planes, T_tgt_ref, K_ref, K_tgt) @ pixels
    x, y = (found[:, :, axis] / found[:, :, 2] for axis in (0, 1))
    valid = (x > -1) & (x < size[1]) & (y > -1) & (y < size[0])
    grid = torch.stack(((x + 0.5) / (size[1] / 2) - 1, (y + 0.5) / (size[0] / 2) - 1), dim=-1)
    warped = F.grid_sample(
        stacks.flatten(0, 1),
        grid.reshape(-1, *shape, 2),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return warped.reshape(*planes.shape, 7, *shape), valid.reshape(*planes.shape, *shape)


def plain_render(rgb, sigma, planes, T_tgt_ref, K_ref, K_tgt, shape):
    """Everything that the composition makes, by name."""
    warped, valid = plain_warp(rgb, sigma, planes, T_tgt_ref, K_ref, K_tgt, shape)
    colour, density, points = warped.split((3, 1, 3), dim=2)
    density = torch.where(points[:, :, 2:] < 0, torch.zeros_like(density), density)
    steps = (points[:, 1:] - points[:, :-1]).norm(dim=2, keepdim=True)
    distance = torch.cat((steps, torch.full_like(density[:, :1], 1000)), dim=1)
    passing = torch.exp(-density * distance)
    before = torch.cumprod(torch.cat((torch.ones_like(passing[:, :1]), passing[:, :-1] + 1e-6), dim=1), dim=1)
    weights = before * (1 - passing)
    total = weights.sum(1)
    return {
        "rgb": (weights * colour).sum(1),
        "depth": (weights * points[:, :, 2:]).sum(1) / (total + 1e-5),
        "mask": valid.any(1, keepdim=True).to(planes.dtype),
        "weight_sum": total,
        "warped": warped,
        "valid_mask": valid,
        "transparency_acc": before,
        "weights": weights,
    }


def plain_ssim_map(a, b):
    """By a convolution with the whole window over zero padding."""
    offsets = torch.arange(11, dtype=a.dtype) - 5
    weights = torch.exp(-(offsets**2) / (2 * 1.5**2))
    weights = weights / weights.sum()
    window = torch.outer(weights, weights).expand(a.shape[1], 1, 11, 11)

    def smooth(x):
        return F.conv2d(x, window, padding=5, groups=a.shape[1])

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    upper = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    return upper / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))


def plain_losses(rendered, image, weights, lpips=None):
    """L1, SSIM and LPIPS by name, weighted and summed over scales; ``rendered``: image and mask of every scale."""
    found = {"l1": 0.0, "ssim": 0.0} | ({"lpips": 0.0} if lpips else {})
    for scale, (rgb, mask) in enumerate(rendered):
        size = [length // 2**scale for length in image.shape[2:]]
        target = F.interpolate(image, size=size, mode="bilinear", align_corners=False) * mask
        estimate = rgb * mask
        found["l1"] = found["l1"] + weights[0] * (estimate - target).abs().sum() / mask.sum()
        found["ssim"] = found["ssim"] + weights[1] * (1 - plain_ssim_map(estimate, target).mean())
        if lpips:
            found["lpips"] = found["lpips"] + weights[2] * lpips(estimate, target).mean()
    return found
