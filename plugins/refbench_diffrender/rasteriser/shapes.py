"""What every rasteriser asks of its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_MOST_TRIANGLES = 2**24
"""Numbers of triangles are kept as float32."""


def check_mesh(pos: Tensor, triangles: Tensor, shape: tuple[int, int]) -> None:
    """Raise ``InputError`` unless this is positions [B, V, 4], triangles integer [T, 3] and a size (rows, cols).

    Positions are in clip space.
    """
    if pos.ndim != 3 or pos.shape[2] != 4 or not pos.is_floating_point():
        raise InputError(f"clip positions must be floats [views, vertices, 4], not {_is(pos)}")
    check_triangles(triangles)
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"the size of the rendering must be (rows, cols), both at least 1, not {tuple(shape)}")


def check_triangles(triangles: Tensor) -> None:
    """Raise ``InputError`` unless triangles are integers [T, 3] and few enough. They are indices of vertices."""
    if triangles.ndim != 2 or triangles.shape[1] != 3 or triangles.is_floating_point():
        raise InputError(f"triangles must be integers [triangles, 3], not {_is(triangles)}")
    if len(triangles) >= _MOST_TRIANGLES:
        raise InputError(
            f"{len(triangles)} triangles are too many, the most are {_MOST_TRIANGLES - 1}: decimate the mesh"
        )


def check_attributes(attributes: Tensor, views: int, vertices: int | None = None, least: int = 0) -> None:
    """Raise ``InputError`` unless attributes are [1 or views, vertices, C >= least]."""
    fits = attributes.ndim == 3 and attributes.shape[0] in (1, views) and vertices in (None, attributes.shape[1])
    if not fits or not attributes.is_floating_point() or attributes.shape[2] < least:
        rows = "vertices" if vertices is None else vertices
        raise InputError(
            f"attributes must be floats [1 or {views}, {rows}, at least {least} channels], not {_is(attributes)}"
        )


def check_texture(texture: Tensor, views: int) -> None:
    """Raise ``InputError`` unless a texture is [1 or views, h, w, C]."""
    if texture.ndim != 4 or texture.shape[0] not in (1, views) or min(texture.shape[1:3]) < 1:
        raise InputError(f"a texture must be floats [1 or {views}, rows, cols, channels], not {_is(texture)}")


def check_image(name: str, image: Tensor, channels: int | None = None) -> None:
    """Raise ``InputError`` unless ``image`` is [B, rows, cols, channels]."""
    if image.ndim != 4 or channels not in (None, image.shape[3]):
        last = "channels" if channels is None else channels
        raise InputError(f"{name} must be [views, rows, cols, {last}], not {_is(image)}")


def check_channels(name: str, count: int | None, most: int) -> int:
    """Return ``count``, or ``most`` without one; raise ``InputError`` unless it lies between 0 and ``most``."""
    if count is not None and not 0 <= count <= most:
        raise InputError(f"{name} must lie between 0 and {most}, the number of channels, not {count}")
    return most if count is None else count


def _is(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def as_indices(triangles: Tensor) -> Tensor:
    """Triangles as contiguous int32. [T, 3]."""
    return triangles.to(torch.int32).contiguous()
