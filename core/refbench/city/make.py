"""One city in memory: geometry, images, matched points, initial DSM, orthos, masks, reference."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine as Transform
from rasterio.crs import CRS
from scipy import ndimage

from refbench.city.build import make_world
from refbench.city.cameras import aerial_stations, satellite_stations, varied_stations
from refbench.city.dates import on_image_dates, with_cars_of
from refbench.city.finish import finished
from refbench.city.mesh import BUILDING_KINDS, Kind
from refbench.city.plan import Cover
from refbench.city.render import Renderer
from refbench.city.sensor import SatelliteSensor, exposed_image, render_station, sample_rays
from refbench.city.surface import surface_world
from refbench.city.texture import Texture
from refbench.city.variation import Dates, drawn, fixed
from refbench.contracts.errors import InputError, UnsupportedError
from refbench.contracts.grid import Grid
from refbench.contracts.method import derived_rng
from refbench.contracts.points import PointCloud
from refbench.contracts.raster import DSM, Image, Mask
from refbench.geometry.ortho import orthorectify
from refbench.geometry.rpc_fit import fit_rpc
from refbench.geometry.stereo import match_pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refbench.city.build import World
    from refbench.city.cameras import Station
    from refbench.city.variation import Variation
    from refbench.contracts.camera import Camera
    from refbench.geometry.stereo import Matches

MARGIN_M = 36.0
"""What is built around the tile, so that no view meets the end of the city inside it."""
PLACE = (500_000.0, 5_300_000.0)
"""Where the cities stand in UTM zone 32 north: each seed has its own square kilometre."""
IMAGES = ("a", "b", "c", "d")
"""Names of the satellite images; c and d are taken where several matchings are fused."""
RPC_MARGIN_M = 150.0
"""How far around the tile the RPCs are fitted."""
RPC_NODES = 9
BAND_OFFSET = 80.0
DEPTH_STEPS = 256.0
"""Depths are multiples of 1/256 m, so that they compress."""
SATELLITE_SAMPLES, VARIED_SAMPLES = 3, 2
"""Rays along the side of a pixel, versions 1 and 2."""
AERIAL_SAMPLES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """An image with its camera. ``depth`` float32 [rows, cols] is the true z in metres, NaN where nothing is seen."""

    name: str
    image: Image
    camera: Camera
    depth: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class City:
    """A procedural city on its reference grid; all in the CRS of ``reference.grid``, heights above the ellipsoid.

    ``satellites`` are the two panchromatic images a and b, ``aerials`` the ring of colour photos (empty where they
    were skipped); ``orthos`` a and b are rectified over ``initial`` with its holes filled for that purpose only.
    ``notes`` are facts of JSON types.
    """

    seed: int
    reference: DSM
    initial: DSM
    points: PointCloud
    orthos: Mapping[str, Image]
    ndvi: Image
    masks: Mapping[str, Mask]
    satellites: tuple[Photo, Photo]
    aerials: tuple[Photo, ...]
    notes: Mapping[str, Any]

    @property
    def grid(self) -> Grid:
        """The reference grid."""
        return self.reference.grid


LEAST_IMAGE_GSD = 0.05
"""Metres."""
LEAST_IMAGE_PIXELS = 16
"""Across the city."""


def city_grid(seed: int, size: int, gsd: float) -> Grid:
    """Return the reference grid of a city: ``size`` x ``size`` pixels of ``gsd`` metres, EPSG:32632."""
    west, north = PLACE[0] + 1000.0 * (seed % 300), PLACE[1] + 1000.0 * (seed // 300 % 300)
    return Grid(size, size, Transform(gsd, 0.0, west, 0.0, -gsd, north), CRS.from_epsg(32632), "ellipsoid")


def make_city(
    seed: int,
    size: int = 256,
    gsd: float = 0.5,
    *,
    image_gsd: float | None = None,
    aerial: int = 8,
    aerial_shape: tuple[int, int] = (288, 384),
    version: int = 1,
    surface: DSM | None = None,
) -> City:
    """Make the city of a seed; the same arguments give the same city, bit for bit.

    Parameters
    ----------
    seed
        Below ``FIRST_TEST_SEED`` for training, from there on for tests.
    size
        Side of the reference grid in pixels: the tile has ``size * gsd`` metres a side.
    gsd
        Pixel of the reference grid in metres.
    image_gsd
        Pixel of the satellite images on the ground, metres; None takes ``gsd``.
    aerial
        How many aerial views; 0 skips them.
    aerial_shape
        Their (rows, cols).
    version
        1: one sensor, sun, base and matcher for all cities. 2: each city draws its own; see ``variation``.
    surface
        A DSM, such as a LiDAR survey, a random part of which takes the place of the city's geometry; for version 2.

    Raises
    ------
    InputError
        A size or a pixel that makes no city.
    MissingExtraError
        open3d is not installed.
    """
    if size < 32 or not 0.1 <= gsd <= 2.0 or size * gsd > 2000.0:
        raise InputError(
            f"A city of {size} px of {gsd:g} m cannot be made; take at least 32 px of 0.1 to 2 m, up to 2 km."
        )
    if image_gsd is not None and not (LEAST_IMAGE_GSD <= image_gsd <= size * gsd / LEAST_IMAGE_PIXELS):
        raise InputError(
            f"Satellite images of {image_gsd:g} m a pixel cannot be made; take {LEAST_IMAGE_GSD:g} m to "
            f"{size * gsd / LEAST_IMAGE_PIXELS:g} m."
        )
    if seed < 0 or aerial < 0:
        raise InputError(f"Seed and number of aerial views must not be negative, got {seed} and {aerial}.")
    grid = city_grid(seed, size, gsd)
    extent = size * gsd
    if version not in (1, 2):
        raise InputError(f"There are versions 1 and 2 of the city, got {version}.")
    if surface is not None and version == 1:
        raise InputError("A given surface needs version 2 of the city.")
    variation = fixed(seed) if version == 1 else drawn(seed)
    reach = extent / 2 + MARGIN_M
    if surface is None:
        world = make_world(seed, reach, furniture=variation.furniture, terraces=variation.terraces)
    else:
        world = surface_world(seed, reach, surface)
    maker = _Maker(seed, grid, world, variation, image_gsd or gsd * variation.image_gsd)
    reference, masks = maker.reference_and_masks()
    (photo_a, radiance_a, error_a), (photo_b, _, error_b) = maker.satellite("a"), maker.satellite("b")
    points, heights = maker.match(photo_a, photo_b, radiance_a)
    initial = DSM(heights, grid)
    if not initial.valid.any():
        raise InputError(f"Matching found nothing in the city of seed {seed}; take another seed.")
    filled = fill_nearest(initial)
    orthos = {photo.name: _numbers(orthorectify(photo.image, photo.camera, filled)) for photo in (photo_a, photo_b)}
    ndvi = maker.ndvi(photo_a, radiance_a, filled)
    aerials = maker.aerials(aerial, aerial_shape) if aerial else ()
    notes = {
        "seed": seed,
        "size": size,
        "gsd": gsd,
        "image_gsd": maker.image_gsd,
        "character": world.character,
        "buildings": world.buildings,
        "trees": world.trees,
        "sun": {"azimuth": round(variation.suns[0].azimuth, 2), "elevation": round(variation.suns[0].elevation, 2)},
        "rpc_max_error_px": {"a": error_a, "b": error_b},
    }
    if version == 2:
        notes |= {"version": version, "variation": variation.notes()}
    return City(seed, reference, initial, points, orthos, ndvi, masks, (photo_a, photo_b), aerials, notes)


def _numbers(ortho: Image) -> Image:
    """Return an ortho as the whole digital numbers that a product has, uint16, 0 where invalid."""
    valid = np.isfinite(ortho.pixels).all(axis=0)
    pixels = np.where(valid, np.clip(np.rint(ortho.pixels), 1, 65535), 0).astype(np.uint16)
    return Image(pixels, ortho.grid, ortho.band_names, valid)


def fill_nearest(dsm: DSM) -> DSM:
    """Return the DSM with every hole filled by its nearest height: for rectification only."""
    _, (rows, cols) = ndimage.distance_transform_edt(~dsm.valid, return_indices=True)
    return DSM(dsm.heights[rows, cols], dsm.grid)


class _Maker:
    """The steps of one city, which share its frame."""

    def __init__(self, seed: int, grid: Grid, world: World, variation: Variation, image_gsd: float) -> None:
        self._seed, self._grid, self._mesh, self._world = seed, grid, world.mesh, world
        self._variation, self.image_gsd = variation, image_gsd
        texture = Texture(seed, world.mesh, world.cover)
        self._renderer = Renderer(world.mesh, texture, variation.suns[0])
        self._renderers = self._of_dates(texture)
        bounds = grid.bounds
        self._origin = np.array([(bounds.west + bounds.east) / 2, (bounds.south + bounds.north) / 2, 0.0])
        # The apron is far below some towers and above none: heights of the tile's own part decide.
        self._low, self._high = float(self._mesh.vertices[:, 2].min()), float(self._mesh.vertices[:, 2].max())
        self._stations = self._satellite_stations()

    def _of_dates(self, texture: Texture) -> dict[str, Renderer]:
        """Return what each image sees: on version 1 all the same city on one day."""
        variation, sun = self._variation, self._variation.suns[0]
        if variation.dates == Dates():
            return dict.fromkeys(IMAGES, self._renderer)
        rng = derived_rng(self._seed, "city 2", "dates")
        seen = on_image_dates(self._mesh, variation.dates, rng)
        first = Renderer(with_cars_of(seen, variation.dates, rng), texture, sun)
        second = Renderer(with_cars_of(seen, variation.dates, rng), texture, variation.suns[1])
        return {name: (first, second)[index % 2] for index, name in enumerate(IMAGES)}

    def _target(self) -> NDArray[np.float64]:
        ground = float(self._world.terrain.at(0.0, 0.0))
        return np.asarray(self._origin + np.array([0.0, 0.0, ground]))

    def _satellite_stations(self) -> dict[str, Station]:
        variation = self._variation
        extent = self._grid.width * self._grid.gsd + 2 * (0.3 * (self._high - self._low) + 6.0)
        rng = derived_rng(self._seed, "city", "orbit")
        if variation.lean is None:
            stations: tuple[Station, ...] = satellite_stations(rng, self._target(), extent, self.image_gsd)
        else:
            count = 2 if variation.making.passes == 1 else len(IMAGES)
            shape = variation.lean, variation.base, count
            stations = varied_stations(rng, self._target(), extent, self.image_gsd, *shape)
        return dict(zip(IMAGES, stations, strict=False))

    def reference_and_masks(self) -> tuple[DSM, dict[str, Mask]]:
        """Return the highest surface at every pixel centre and the classes of what is there."""
        x, y = self._grid.centres()
        ceiling = self._high + 10.0
        start = np.column_stack([x.ravel() - self._origin[0], y.ravel() - self._origin[1], np.full(x.size, ceiling)])
        traced = self._renderer.tracer.cast(start, np.broadcast_to([0.0, 0.0, -1.0], start.shape))
        heights = (ceiling - traced.distance).reshape(x.shape).astype(np.float32)
        kind = self._mesh.kind[self._mesh.surface[traced.triangle]].reshape(x.shape)
        cover = self._world.cover.cover_at(start[:, :2]).reshape(x.shape)
        classes = {
            "building": np.isin(kind, BUILDING_KINDS),
            "water": (kind == Kind.GROUND) & (cover == Cover.WATER),
            "forest": kind == Kind.CROWN,
        }
        masks = {name: Mask(where.astype(np.uint8), self._grid, name) for name, where in classes.items()}
        return DSM(heights, self._grid), masks

    def satellite(self, name: str) -> tuple[Photo, NDArray[np.float32], float]:
        """Return an image with its RPC, the light behind it float32 [rows, cols, 4], and the RPC's error in px."""
        station = self._stations[name]
        samples = SATELLITE_SAMPLES if self._variation.optics is None else VARIED_SAMPLES
        radiance = render_station(self._renderers[name], station, self._origin, samples, self._high + 5.0)
        rng = derived_rng(self._seed, "city", "sensor", name)
        if self._variation.optics is None:
            sensor = SatelliteSensor(gain=float(rng.uniform(2300, 3000)), offset=float(rng.uniform(60, 130)))
        else:
            sensor = self._variation.optics.sensor(radiance, IMAGES.index(name), rng)
        image = Image(sensor.pan(radiance, rng)[None], None, ("pan",))
        around = self._grid.bounds.padded(RPC_MARGIN_M)
        fit = fit_rpc(station.camera, around, (self._low - 50.0, self._high + 50.0), self._grid.crs, nodes=RPC_NODES)
        return Photo(name, image, fit.rpc), radiance, float(f"{fit.max_error_px:.2g}")

    def match(
        self, photo_a: Photo, photo_b: Photo, radiance_a: NDArray[np.float32]
    ) -> tuple[PointCloud, NDArray[np.float32]]:
        """Return the points of images a and b with the colour of a, uint16, and the heights of the initial DSM."""
        making = self._variation.making
        photos = [photo_a, photo_b, *(self.satellite(name)[0] for name in IMAGES[2:] if name in self._stations)]
        clouds = [self._matched(photo_a, photo_b)]
        for first, second in itertools.islice(itertools.combinations(photos, 2), 1, making.passes):
            # Further satellites may stand too near to each other for a pair.
            with contextlib.suppress(UnsupportedError):
                clouds.append(self._matched(first, second))
        heights = finished([matches.xyz for matches in clouds], self._grid, making)
        matches = clouds[0]
        bands = self._bands(radiance_a)
        col, row = np.round(matches.pixel.T).astype(np.int64)
        colour = bands[:3, row.clip(0, bands.shape[1] - 1), col.clip(0, bands.shape[2] - 1)].T
        return PointCloud(matches.xyz, self._grid.crs, self._grid.vertical, colour), heights

    def _matched(self, first: Photo, second: Photo) -> Matches:
        return match_pair(
            first.image.pixels[0],
            second.image.pixels[0],
            first.camera,
            second.camera,
            self._grid.bounds,
            (self._low - 2.0, self._high + 2.0),
            gsd=self._variation.matching_fraction * self.image_gsd,
            options=self._variation.match,
        )

    def _bands(self, radiance: NDArray[np.float32]) -> NDArray[np.uint16]:
        # Colour pixels are larger than panchromatic ones, so they are less noisy.
        sensor = SatelliteSensor(2600.0, BAND_OFFSET, blur_px=1.2, read_noise=6.0, shot_noise=0.3)
        return sensor.bands(radiance, derived_rng(self._seed, "city", "sensor", "bands"))

    def ndvi(self, photo: Photo, radiance: NDArray[np.float32], filled: DSM) -> Image:
        """Return the vegetation index float32 in [-1, 1] on the reference grid, from red and near infrared."""
        image = Image(self._bands(radiance).astype(np.float32) - BAND_OFFSET, None, ("red", "green", "blue", "nir"))
        ortho = orthorectify(image, photo.camera, filled)
        red, infrared = ortho.pixels[0], ortho.pixels[3]
        index = np.round(256 * np.clip((infrared - red) / np.maximum(infrared + red, 20.0), -1, 1)) / 256
        return Image(index.astype(np.float32)[None], self._grid, ("ndvi",), ortho.valid)

    def aerials(self, count: int, shape: tuple[int, int]) -> tuple[Photo, ...]:
        """Return the ring of aerial photos with depth."""
        rng = derived_rng(self._seed, "city", "aerial")
        extent = self._grid.width * self._grid.gsd
        target = self._target() + np.array([0.0, 0.0, 5.0])
        photos = []
        for index, station in enumerate(aerial_stations(rng, target, extent, count, shape), 1):
            radiance = render_station(self._renderer, station, self._origin, AERIAL_SAMPLES, self._high)
            pixels = exposed_image(radiance, 1.9 * float(rng.uniform(0.92, 1.08)), rng)
            start, direction = sample_rays(station, self._origin, 1, self._high)
            distance = self._renderer.tracer.cast(start, direction).distance
            seen = np.where(np.isfinite(distance), np.round(distance * DEPTH_STEPS) / DEPTH_STEPS, np.nan)
            depth = seen.reshape(shape).astype(np.float32)
            image = Image(pixels, None, ("red", "green", "blue"))
            photos.append(Photo(f"uav_{index}", image, station.camera, depth))
        return tuple(photos)
