"""Render meshes so that gradients pass: what a rasteriser does, and which one to take.

Clip coordinates follow the renderer of ref_depth: pixel (column x, row y) of a view has its centre at
``(2x + 1) / cols - 1``, ``(2y + 1) / rows - 1`` after division by w; row 0 lies at y = -1. Nothing is culled; the
smaller z/w is nearer; a triangle with a vertex number below 0 or beyond the last vertex is dropped.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from refbench.contracts.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor

Backend = Literal["auto", "nvdiffrast", "numba", "torch"]


class Rasteriser(Protocol):
    """The operations of a backend.

    All tensors of a call share one device and one float type: float32, or float64 for gradient checks (CPU only).
    Gradients pass through everything but z/w and the choice of triangles.
    """

    name: str
    epsilons: bool

    def rasterise(self, pos: Tensor, triangles: Tensor, shape: tuple[int, int]) -> Tensor:
        """Find what is seen: [B, rows, cols, 4] of (u, v, z/w, number of the triangle + 1), zeros elsewhere.

        ``pos`` are clip positions [B, V, 4], ``triangles`` integers [T, 3]; u and v are the perspective-correct
        weights of the first two vertices. Raises ``InputError`` for other shapes.
        """

    def interpolate(self, attributes: Tensor, rast: Tensor, triangles: Tensor) -> Tensor:
        """Interpolate vertex attributes [B or 1, V, C] over what ``rasterise`` found: [B, rows, cols, C].

        In the unit of the attributes.
        """

    def texture(self, texture: Tensor, uv: Tensor) -> Tensor:
        """Look up textures [1 or B, h, w, C] bilinearly, wrapping around, at ``uv`` [B, rows, cols, 2].

        [0, 1] spans the texture; colours or any other channels.
        """

    def antialias(
        self, colour: Tensor, rast: Tensor, pos: Tensor, triangles: Tensor, topology: object | None = None,
        channels: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Blend neighbouring pixels of ``colour`` [B, rows, cols, C] across silhouettes, so that these get gradients.

        Only the first ``channels`` are blended, without it all. ``topology`` is what the method of that name returned.
        """

    def topology(self, triangles: Tensor) -> object:
        """What ``antialias`` needs to know of the neighbours of triangles; reuse it while the mesh stays the same.

        ``triangles`` is int32 [T, 3], indices of vertices.
        """

    def render(
        self, pos: Tensor, triangles: Tensor, attributes: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """``rasterise`` and ``interpolate`` in one.

        Shapes and units are theirs: rast [B, rows, cols, 4], attributes [B, rows, cols, C].
        """

    def shade(
        self, pos: Tensor, triangles: Tensor, attributes: Tensor, texture: Tensor, shape: tuple[int, int],
        masked: int = 0,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """``render``, and ``texture`` at the first two attributes, in one.

        Where no triangle is, the texture is looked up at (0, 0), but its first ``masked`` channels are 0.
        Rast is [B, rows, cols, 4], the others [B, rows, cols, C] and [B, rows, cols, channels of the texture], colours.
        """


def rasteriser(backend: str = "auto", device: str = "cpu", *, epsilons: bool = True) -> Rasteriser:
    """Return a rasteriser.

    Parameters
    ----------
    backend
        ``auto`` is nvdiffrast on CUDA where it is installed, numba on the CPU where it is, else torch.
    device
        Where the tensors will lie, as torch names it.
    epsilons
        Whether backward passes add nvdiffrast's 1e-6 to areas and 1e-3 px to edges (stable, and what nvdiffrast
        itself does) or are exact.

    Raises
    ------
    UnsupportedError
        The backend asked for is not installed or does not run on ``device``.
    """
    if backend not in get_args(Backend):
        raise ConfigError(f"there is no rasteriser {backend!r}: take one of {', '.join(get_args(Backend))}")
    kind = device.split(":", maxsplit=1)[0]
    if backend == "auto":
        backend = _best(kind, epsilons)
    problem = _PROBLEMS[backend](kind, epsilons)
    if problem is not None:
        raise UnsupportedError(problem)
    if backend == "nvdiffrast":
        from refbench_diffrender.rasteriser.backend_nvdiffrast import NvdiffrastRasteriser

        return NvdiffrastRasteriser(device)
    if backend == "numba":
        from refbench_diffrender.rasteriser.backend_numba import NumbaRasteriser

        return NumbaRasteriser(epsilons)
    from refbench_diffrender.rasteriser.backend_torch import TorchRasteriser

    return TorchRasteriser(epsilons)


def nvdiffrast_problem() -> str | None:
    """Say what keeps nvdiffrast from running here, in one sentence, or return None."""
    import torch

    if importlib.util.find_spec("nvdiffrast") is None:
        return (
            "nvdiffrast is not installed; its licence (research and evaluation only) forbids shipping it: clone "
            "https://github.com/NVlabs/nvdiffrast and pip install it with --no-build-isolation, CUDA toolkit present"
        )
    if not torch.cuda.is_available():
        return "nvdiffrast is installed, but torch sees no CUDA device: install torch for CUDA and a driver"
    try:
        importlib.import_module("nvdiffrast.torch")
    except Exception as error:  # a broken build fails in many ways
        return f"nvdiffrast is installed, but does not load ({error}): build it anew for this torch and CUDA toolkit"
    return None


def _best(kind: str, epsilons: bool) -> str:
    names = ("nvdiffrast", "numba") if kind == "cuda" else ("numba",)
    return next((name for name in names if _PROBLEMS[name](kind, epsilons) is None), "torch")


def _no_nvdiffrast(kind: str, epsilons: bool) -> str | None:
    if not epsilons:
        return "nvdiffrast has no exact backward pass: leave its epsilons on or take the backend torch"
    if kind != "cuda":
        return f"nvdiffrast renders on CUDA only, not on {kind}: take --device cuda or the backend numba"
    return nvdiffrast_problem()


def _no_numba(kind: str, epsilons: bool) -> str | None:
    if kind != "cpu":
        return f"the backend numba renders on the CPU only, not on {kind}: take the backend torch or nvdiffrast"
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed: pip install 'refbench[diffrender]', or take the backend torch"
    return None


def _no_torch(kind: str, epsilons: bool) -> str | None:
    return None


_PROBLEMS = {"nvdiffrast": _no_nvdiffrast, "numba": _no_numba, "torch": _no_torch}
