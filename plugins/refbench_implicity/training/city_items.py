"""Training items from scenes with a reference DSM: packed into one file each, cut and labelled at full speed.

Nothing here needs rasterio: packing looks at a scene through its contracts, training reads ``.npz`` files only.
Label of a query: z <= reference height of its pixel. Letters: N points, M queries of a patch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench.contracts.errors import InputError, MissingFileError
from refbench_implicity.official.chunk_files import PlanarIndex
from refbench_implicity.patch_frame import Augmentation, PatchFrame, strictly_inside, z_origin
from refbench_implicity.training.dataset import PatchItem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.scene import Scene
    from refbench_implicity.normalise import Normalisation

TRIES = 50
WALL_STEP_M = 1.5
"""Height range in a 3 x 3 neighbourhood from which a pixel counts as a wall."""


@dataclass(frozen=True)
class PackedScene:
    """One scene: ``points`` float64 [N, 3] in world metres; ``orthos`` float32 [images, rows, cols], already scaled.

    ``dsm`` float32 [rows, cols] is the reference, NaN where unknown, ``initial`` the input DSM or None, all
    north-up on one grid whose north-west corner is ``corner`` (x, y) and whose square pixels measure ``gsd`` metres.
    """

    name: str
    points: NDArray[np.float64]
    orthos: NDArray[np.float32]
    dsm: NDArray[np.float32]
    corner: tuple[float, float]
    gsd: float
    initial: NDArray[np.float32] | None = None

    @cached_property
    def index(self) -> PlanarIndex:
        """The points, findable by rectangle."""
        return PlanarIndex(self.points, 8 * self.gsd)

    @cached_property
    def relief(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest reference height among each pixel's 3 x 3 neighbours, NaN where one is unknown.

        Both float32 [rows, cols], metres.
        """
        padded = np.pad(self.dsm, 1, mode="edge")
        rows, cols = self.dsm.shape
        views = [padded[r : r + rows, c : c + cols] for r in range(3) for c in range(3)]
        return np.minimum.reduce(views), np.maximum.reduce(views)

    def write(self, path: Path) -> None:
        """Write the scene to ``path`` (``.npz``), atomically."""
        beside = path.with_name(f".{path.name}.new.npz")
        arrays: dict[str, Any] = {"points": self.points, "orthos": self.orthos, "dsm": self.dsm, "gsd": self.gsd}
        arrays["transform"] = np.array([self.gsd, 0.0, self.corner[0], 0.0, -self.gsd, self.corner[1]])
        if self.initial is not None:
            arrays["initial"] = self.initial
        try:
            np.savez_compressed(beside, **arrays)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: Path) -> PackedScene:
        """Read a packed scene. Raises ``InputError`` where the file is none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                t, gsd = file["transform"], float(file["gsd"])
                initial = file["initial"] if "initial" in file.files else None
                corner = float(t[2]), float(t[5])
                return cls(path.stem, file["points"], file["orthos"], file["dsm"], corner, gsd, initial)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is no packed scene ({error}); pack_scene writes them.") from None


def packed_scene(scene: Scene, normalisation: Normalisation | None = None) -> PackedScene:
    """Return what a training needs of a scene: points, scaled orthos, reference, initial DSM.

    Parameters
    ----------
    scene
        A scene with points and a reference DSM; its orthos (those of the first pair, else the first two) are on the
        grid of the reference.
    normalisation
        Rule of the images; by default each one's own median and interquartile range, bands averaged.

    Raises
    ------
    InputError
        The scene has no points or no reference DSM, or its rasters are on different grids.
    """
    from refbench.geometry.image_scale import one_band

    if scene.points is None or scene.reference is None or scene.reference.dsm is None:
        raise InputError(f"Scene {scene.id} cannot train ImpliCity: it needs points and a reference DSM.")
    rule = normalisation or robust_normalisation()
    reference = scene.reference.dsm.read()
    grid = reference.grid
    if not grid.is_north_up or abs(grid.resolution[0] - grid.resolution[1]) > 1e-6 * grid.gsd:
        raise InputError(f"The reference of scene {scene.id} must be north-up with square pixels.")
    layers = []
    for name in scene.pairs[0] if scene.pairs else tuple(scene.orthos)[:2]:
        source = scene.orthos[name]
        if source.grid is None or source.grid != grid:
            raise InputError(f"Ortho {name} of scene {scene.id} is not on the grid of the reference.")
        layers.append(rule.image_scale(source).apply(one_band(source.read(), rule.bands)))
    orthos = np.stack(layers) if layers else np.empty((0, *grid.shape), np.float32)
    initial = scene.dsm.read() if scene.dsm is not None else None
    held = np.asarray(initial.heights) if initial is not None and initial.grid == grid else None
    corner = (float(grid.transform.c), float(grid.transform.f))
    points = np.asarray(scene.points.read().xyz)
    return PackedScene(scene.id, points, orthos, np.asarray(reference.heights), corner, grid.gsd, held)


def robust_normalisation() -> Normalisation:
    """Return the constants of weights that are trained from scenes: every image by its own median and spread."""
    from refbench_implicity.config import NormalisationConfig
    from refbench_implicity.normalise import resolve_normalisation

    return resolve_normalisation(NormalisationConfig(image_rule="robust", bands="mean"), {})[0]


def pack_scene(scene: Scene, path: Path) -> Path:
    """Write ``path`` (``.npz``) with what a training needs of ``scene``; see ``packed_scene``."""
    packed_scene(scene).write(path)
    return path


def read_packed(folder: Path) -> list[PackedScene]:
    """Return the packed scenes of a folder in order of their names."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise MissingFileError(f"{folder} holds no packed scenes (*.npz).")
    return [PackedScene.read(path) for path in files]


@dataclass(frozen=True, slots=True)
class CityRules:
    """How patches are cut and where queries lie; shares need not sum to 1, the rest is uniform in the search range."""

    patch_size: float = 64.0
    z_std: float = 29.83779098
    z_shift: str = "median"
    n_images: int = 2
    queries: int = 8192
    near_fraction: float = 0.55
    """Queries at the surface, offset by a normal error of one of ``near_sigmas`` metres."""
    near_sigmas: tuple[float, ...] = (0.3, 1.0, 4.0)
    wall_fraction: float = 0.15
    """Queries at height steps, uniform between their foot and top."""
    padded_fraction: float = 0.2
    """Queries uniform between the patch's lowest and highest reference, padded by 10 m and 20 m."""
    search_range: tuple[float, float] = (-100.0, 80.0)
    augment: bool = True


@dataclass(frozen=True)
class CityItems(torch.utils.data.Dataset[PatchItem]):
    """Random patches of packed scenes. Item n is a pure function of the seed and n."""

    scenes: Sequence[PackedScene]
    rules: CityRules = field(default_factory=CityRules)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that every scene can give a patch."""
        for scene in self.scenes:
            size = self.rules.patch_size / scene.gsd
            if min(scene.dsm.shape) < size:
                raise InputError(f"Scene {scene.name} is smaller than a patch of {self.rules.patch_size:g} m.")
            if len(scene.orthos) < self.rules.n_images:
                raise InputError(
                    f"Scene {scene.name} has {len(scene.orthos)} orthos, {self.rules.n_images} are needed."
                )

    def __getitem__(self, number: int) -> PatchItem:
        """Return item ``number``; patches without points or reference are passed over."""
        rng = np.random.default_rng([self.seed, 11, number])
        for _ in range(TRIES):
            scene = self.scenes[int(rng.integers(len(self.scenes)))]
            pixels = round(self.rules.patch_size / scene.gsd)
            row, col = (int(rng.integers(length - pixels + 1)) for length in scene.dsm.shape)
            item = self.cut(scene, row, col, rng)
            if item is not None:
                return item
        raise InputError(f"{TRIES} random patches in a row have no points or no reference: check the packed scenes.")

    def cut(self, scene: PackedScene, row: int, col: int, rng: np.random.Generator) -> PatchItem | None:
        """Return the patch whose north-west pixel is (row, col), or None without points or reference there."""
        rules = self.rules
        pixels = round(rules.patch_size / scene.gsd)
        size = np.full(2, pixels * scene.gsd)
        low = np.array([scene.corner[0] + col * scene.gsd, scene.corner[1] - (row + pixels) * scene.gsd])
        points = scene.points[scene.index.inside(low, low + size)]
        area = slice(row, row + pixels), slice(col, col + pixels)
        known = np.flatnonzero(np.isfinite(scene.dsm[area]))
        if not len(points) or not len(known):
            return None
        augmentation = Augmentation.draw(rng, rotate=True, flip=True) if rules.augment else Augmentation()
        frame = PatchFrame(low, size, z_origin(points[:, 2], rules.z_shift), rules.z_std, augmentation)
        inputs = frame.normalise(points)
        inputs = inputs[strictly_inside(inputs)]
        xyz, labels = self._queries(scene, area, known, frame, rng)
        query = _as_read(frame.normalise(xyz), pixels)
        image = augmentation.image(scene.orthos[(slice(rules.n_images), *area)]) if rules.n_images else None
        everywhere = {"gt": np.ones(len(query), np.bool_)}
        return PatchItem(scene.name, inputs, frame.to_world, low, low + size, query, labels, everywhere, image)

    def _queries(
        self,
        scene: PackedScene,
        area: tuple[slice, slice],
        known: NDArray[np.int64],
        frame: PatchFrame,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return world positions [M, 3] and labels [M]; half of them at pixel centres, half anywhere in the pixel."""
        rules, heights = self.rules, scene.dsm[area].ravel()
        width = area[1].stop - area[1].start
        count = rules.queries
        fractions = np.array([rules.near_fraction, rules.wall_fraction, rules.padded_fraction])
        near, wall, padded = (fractions * count).astype(int)
        lowest, highest = (part[area].ravel() for part in scene.relief)
        pixel = known[rng.integers(len(known), size=count)]
        steps = np.flatnonzero(highest - lowest > WALL_STEP_M)
        if len(steps):
            pixel[near : near + wall] = steps[rng.integers(len(steps), size=wall)]
        top = heights[pixel].astype(np.float64)
        z = np.empty(count)
        z[:near] = top[:near] + rng.choice(rules.near_sigmas, near) * rng.standard_normal(near)
        part = slice(near, near + wall)
        foot, peak = (np.where(np.isnan(v := side[pixel[part]]), top[part], v) for side in (lowest, highest))
        z[part] = rng.uniform(foot - 1, peak + 1)
        part = slice(near + wall, near + wall + padded)
        z[part] = rng.uniform(np.nanmin(heights) - 10, np.nanmax(heights) + 20, padded)
        rest = count - near - wall - padded
        z[count - rest :] = frame.z_shift + rng.uniform(*rules.search_range, rest)
        inside = np.where(np.arange(count)[:, None] % 2 == 0, 0.5, rng.random((count, 2)))
        x = frame.anchor[0] + (pixel % width + inside[:, 0]) * scene.gsd
        y = frame.anchor[1] + frame.size[1] - (pixel // width + inside[:, 1]) * scene.gsd
        return np.stack([x, y, z], axis=1), (z <= top).astype(np.float32)


def _as_read(points: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """Return positions as DSM generation will ask for them: the centre of pixel j of n is read at j / (n - 1)."""
    points = points.copy()
    points[:, :2] = (points[:, :2] * pixels - 0.5) / (pixels - 1)
    return points
