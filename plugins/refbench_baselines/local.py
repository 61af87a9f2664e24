"""The baselines that look at a neighbourhood: tiled they give what they give on the whole raster."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from refbench import Context, Grid, TileBatch, TileMethod, TilePlan
from refbench.contracts.estimate import Estimate
from refbench_baselines.config import BilateralConfig, GuidedConfig, MedianConfig, TVL1Config
from refbench_baselines.filters import bilateral, guided, median, tv_l1

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import Scene


C = TypeVar("C")
CORE_PX = 512
COMPILED = Estimate(117 << 20, 0.4)
"""Loading numba and what it compiled before; compiling takes some seconds, once in an installation."""
STEP = Estimate(30, 1.3e-9)
"""One step of TV-L1 on one pixel: five float32 rasters, and CPU seconds."""
WIDE_HALO_PX = 32
"""Beyond it cores are twice as wide, so that little of the work is thrown away with the halo."""


class Local(TileMethod, Generic[C]):
    """A filter whose result at a pixel depends on heights up to ``halo`` pixels away and on nothing else."""

    def __init__(self, config: C, weights: Path | None = None) -> None:
        del weights
        self.config = config

    @property
    @abstractmethod
    def halo(self) -> int:
        """How far the filter looks, in pixels."""

    @abstractmethod
    def filtered(self, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the filtered heights [rows, cols]; NaN stays NaN and does not spread."""

    def plan(self, grid: Grid) -> TilePlan:
        """Return tiles that overlap by the halo, of which only the inner part counts."""
        return halo_plan(grid, self.halo, CORE_PX if self.halo <= WIDE_HALO_PX else 2 * CORE_PX)

    def refine_tiles(self, batch: TileBatch, context: Context) -> NDArray[np.float32]:
        """Filter every tile of the batch; float32 [N, rows, cols]."""
        assert batch.dsm is not None  # the record asks for it
        out = np.empty_like(batch.dsm)
        for index, heights in enumerate(batch.dsm):
            context.check_cancelled()
            out[index] = self.filtered(heights)
        return out


class Input(Local[None]):
    """The initial DSM as it is."""

    halo = 0

    def filtered(self, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the heights. Float32 [rows, cols], metres."""
        return heights


class Median(Local[MedianConfig]):
    """Median filter."""

    @property
    def halo(self) -> int:
        """Half the window."""
        return self.config.size // 2

    def filtered(self, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the median of the known heights in the window. Float32 [rows, cols], metres."""
        return median(heights, self.config.size)


class Bilateral(Local[BilateralConfig]):
    """Bilateral filter."""

    @property
    def halo(self) -> int:
        """The radius."""
        return self.config.radius

    def filtered(self, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean weighted by distance in the plane and in height. Float32 [rows, cols], metres."""
        return bilateral(heights, self.config.radius, self.config.sigma_px, self.config.sigma_m)


class Guided(Local[GuidedConfig]):
    """Guided filter."""

    @property
    def halo(self) -> int:
        """Two windows, one after the other."""
        return 2 * self.config.radius

    def filtered(self, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mean of the local linear models. Float32 [rows, cols], metres."""
        return guided(heights, self.config.radius, self.config.sigma_m)


class TVL1(Local[TVL1Config]):
    """TV-L1 with a fixed number of steps, which makes a global problem local."""

    @property
    def halo(self) -> int:
        """One pixel per step."""
        return self.config.iterations

    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost of the compiled loops: that of loading them, and steps times the pixels of all tiles."""
        plan = self.plan(scene.require_grid())
        pixels = plan.height * plan.width
        steps = self.config.iterations * len(plan) * pixels
        return Estimate(COMPILED.bytes + STEP.bytes * pixels, COMPILED.seconds + STEP.seconds * steps)

    def filtered(self, heights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the primal variable after the configured number of steps. Float32 [rows, cols], metres."""
        return tv_l1(heights, self.config.fidelity, self.config.iterations)


def halo_plan(grid: Grid, halo: int, core: int = CORE_PX) -> TilePlan:
    """Return tiles of ``core`` pixels that tessellate the grid, each seen with ``halo`` pixels around it.

    The weight is 1 in the core and 0 in the halo, so that nothing that a tile's edge disturbs is ever used.
    """
    core_rows, core_cols = min(core, grid.height), min(core, grid.width)
    rows, cols = np.meshgrid(
        np.arange(0, grid.height, core_rows, dtype=np.int64) - halo,
        np.arange(0, grid.width, core_cols, dtype=np.int64) - halo,
        indexing="ij",
    )
    row_weights = np.pad(np.ones(core_rows), halo)
    col_weights = np.pad(np.ones(core_cols), halo)
    return TilePlan(row_weights.size, col_weights.size, rows.ravel(), cols.ravel(), row_weights, col_weights)
