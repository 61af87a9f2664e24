"""RPC00B: image coordinates as ratios of cubics in longitude, latitude and ellipsoidal height."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.crs import CRS

from refbench.contracts.arrays import check_shape, frozen
from refbench.contracts.errors import InputError
from refbench.contracts.grid import Bounds
from refbench.geometry.camera_model import CameraModel, resized
from refbench.geometry.crs_map import CrsMap, crs_map, mapped_box
from refbench.geometry.rpc_tags import OFFSETS, POLYNOMIALS, parse_rpb, parse_size, parse_tags, written_tags

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.contracts.camera import Projected
    from refbench.geometry.torch_cameras import TorchRPC

    Pair = tuple[NDArray[np.float64], NDArray[np.float64]]

WGS84 = CRS.from_epsg(4326)
LOCALISED_PX = 1e-9
CHORD_STEPS = 4
MAX_STEPS = 30
CHUNK = 1 << 12


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RPC(CameraModel):
    """A rational camera. Integer (col, row) is a pixel centre; GDAL's own transformer answers 0.5 more.

    Offsets and scales in pixels, degrees and metres; the four cubics float64 [20] in the order of RPC00B.
    ``crs`` is the CRS of the scene coordinates that ``project`` takes; None: they are longitude, latitude
    (degrees, WGS 84) and height. Heights are ellipsoidal; no vertical datum is converted here.
    ``width`` and ``height`` of the image in pixels, where its file says them.

    The *depth* of an RPC is minus the height, in metres: an RPC knows no distance to the sensor, and among the
    points of one line of sight the highest is the one that a satellite sees.
    """

    line_off: float
    samp_off: float
    lat_off: float
    long_off: float
    height_off: float
    line_scale: float
    samp_scale: float
    lat_scale: float
    long_scale: float
    height_scale: float
    line_num_coeff: NDArray[np.float64]
    line_den_coeff: NDArray[np.float64]
    samp_num_coeff: NDArray[np.float64]
    samp_den_coeff: NDArray[np.float64]
    crs: CRS | None = None
    width: int | None = None
    height: int | None = None

    def __post_init__(self) -> None:
        """Check shapes and values; freeze the arrays."""
        for name in POLYNOMIALS:
            array = np.asarray(getattr(self, name), np.float64)
            check_shape(f"RPC {name}", array, "20")
            if not np.isfinite(array).all():
                raise InputError(f"RPC {name} must be finite.")
            object.__setattr__(self, name, frozen(array))
        for name in OFFSETS:
            value = float(getattr(self, name))
            if not np.isfinite(value) or (name.endswith("scale") and value == 0):
                raise InputError(f"RPC {name} must be finite, and a scale other than 0, got {value}.")
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, tags: Mapping[str, Any], crs: CRS | None = None) -> RPC:
        """Return the RPC of GDAL's ``RPC`` metadata, of ``_RPC.TXT`` keys or of JSON; the case of keys is ignored.

        JSON as rpcm and its kin write it holds the RPC under ``rpc`` and the size of the image beside it.

        Raises
        ------
        InputError
            A missing or unreadable key.
        """
        held = tags.get("rpc", tags)
        if not isinstance(held, Mapping):
            raise InputError(f"The field rpc must hold the coefficients of an RPC, got {type(held).__name__}.")
        return cls(**parse_tags(held), crs=crs, width=parse_size(tags, "width"), height=parse_size(tags, "height"))

    @classmethod
    def from_text(cls, text: str, crs: CRS | None = None) -> RPC:
        """Return the RPC of the lines ``KEY: value [unit]`` of an ``_RPC.TXT`` file."""
        pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        return cls.from_dict({key.strip(): value.strip() for key, value in pairs}, crs)

    @classmethod
    def from_rpb(cls, text: str, crs: CRS | None = None) -> RPC:
        """Return the RPC of the assignments ``lineOffset = 4148;`` of an ``.RPB`` file."""
        return cls.from_dict(parse_rpb(text), crs)

    def to_tags(self) -> dict[str, str]:
        """Return GDAL's ``RPC`` metadata: what a GeoTIFF takes as tags of that namespace."""
        return written_tags({name: getattr(self, name) for name in (*OFFSETS, *POLYNOMIALS)})

    def to_dict(self) -> dict[str, Any]:
        """Return offsets, scales, cubics and size as plain numbers and lists, for YAML and JSON; without the CRS."""
        numbers = {name: getattr(self, name) for name in OFFSETS}
        cubics = {name: getattr(self, name).tolist() for name in POLYNOMIALS}
        return {**numbers, **cubics, "width": self.width, "height": self.height}

    def in_crs(self, crs: CRS | None) -> RPC:
        """Return the same camera for scene coordinates in ``crs``."""
        return replace(self, crs=crs)

    def shifted(self, cols: float, rows: float) -> RPC:
        """Return the camera of the crop whose first pixel is (``cols``, ``rows``) of this image."""
        return replace(self, samp_off=self.samp_off - cols, line_off=self.line_off - rows, width=None, height=None)

    def scaled(self, across: float, down: float) -> RPC:
        """Return the camera of the image resized by ``across`` (columns) and ``down`` (rows)."""
        return replace(
            self,
            samp_off=resized(self.samp_off, across),
            line_off=resized(self.line_off, down),
            samp_scale=self.samp_scale * across,
            line_scale=self.line_scale * down,
            width=None if self.width is None else round(self.width * across),
            height=None if self.height is None else round(self.height * down),
        )

    @property
    def size(self) -> tuple[int, int] | None:
        """(rows, cols) of the image, where both are known."""
        return None if self.height is None or self.width is None else (self.height, self.width)

    @property
    def height_range(self) -> tuple[float, float]:
        """The heights that the RPC was made for, metres."""
        half = abs(self.height_scale)
        return self.height_off - half, self.height_off + half

    @property
    def lonlat(self) -> tuple[float, float]:
        """The middle of the domain, degrees."""
        return self.long_off, self.lat_off

    def to_torch(self) -> TorchRPC:
        """Return the camera for tensors, with the map projection inside where it has a CRS."""
        from refbench.geometry.torch_cameras import TorchRPC

        names = ("long", "lat", "height", "samp", "line")
        offsets, scales = ([getattr(self, f"{name}_{kind}") for name in names] for kind in ("off", "scale"))
        lonlat = None if self.crs is None else self.lonlat_map()
        return TorchRPC(self._coefficients(), np.array(offsets), np.array(scales), lonlat)

    def project(self, xyz: NDArray[np.float64]) -> Projected:
        """Return (col, row, depth), each float64 [...], of scene points [..., 3]; depth is minus the height."""
        xyz = np.asarray(xyz, np.float64)
        lon, lat = self.to_lonlat(xyz[..., 0], xyz[..., 1])
        col, row = self.project_lonlat(lon, lat, xyz[..., 2])
        return col, row, -xyz[..., 2]

    def unproject(
        self, col: NDArray[np.float64], row: NDArray[np.float64], depth: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return scene points float64 [..., 3] of image coordinates and depths (minus the height, metres) [...]."""
        col, row, depth = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (col, row, depth)))
        lon, lat = self.localise(col, row, -depth)
        x, y = self.from_lonlat(lon, lat)
        return np.stack([x, y, -depth], axis=-1)

    def unproject_to_height(
        self, col: NDArray[np.float64], row: NDArray[np.float64], height: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return where lines of sight reach heights [...] (metres), float64 [..., 3]: the depth is minus the height."""
        return self.unproject(col, row, -np.asarray(height, np.float64))

    def project_lonlat(self, lon: NDArray[np.float64], lat: NDArray[np.float64], h: NDArray[np.float64]) -> Pair:
        """Return (col, row), each float64 [...], of longitudes and latitudes (degrees) and heights (metres)."""
        lon, lat, h = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (lon, lat, h)))
        flat = [a.ravel() for a in (lon, lat, h)]
        out = np.empty((2, flat[0].size))
        for start in range(0, flat[0].size, CHUNK):
            part = slice(start, start + CHUNK)
            cubics = self._coefficients() @ terms(*self._normalised(*(a[part] for a in flat)))
            out[0, part] = cubics[2] / cubics[3] * self.samp_scale + self.samp_off
            out[1, part] = cubics[0] / cubics[1] * self.line_scale + self.line_off
        return out[0].reshape(lon.shape), out[1].reshape(lon.shape)

    def localise(self, col: NDArray[np.float64], row: NDArray[np.float64], h: NDArray[np.float64]) -> Pair:
        """Return (lon, lat) in degrees of image coordinates at known heights, by Newton to 1e-9 px.

        Where Newton does not arrive (far outside the RPC's domain) both are NaN.
        Image coordinates are pixels, heights metres above the ellipsoid, all of one shape, which stays.
        """
        col, row, h = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (col, row, h)))
        wanted, height = np.stack([col.ravel(), row.ravel()]), h.ravel()
        out = np.empty_like(wanted)
        for start in range(0, height.size, CHUNK):
            part = slice(start, start + CHUNK)
            out[:, part] = self._newton(wanted[:, part], height[part])
        return out[0].reshape(col.shape), out[1].reshape(col.shape)

    def _newton(self, wanted: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (lon, lat) [2, N] that project to ``wanted`` (col, row) [2, N] at ``height`` [N]."""
        lonlat = self._chord(wanted, height)
        with np.errstate(all="ignore"):
            for _ in range(MAX_STEPS):
                missing = wanted - self._image(lonlat, height)
                open_ = np.abs(missing).max(axis=0) > LOCALISED_PX
                if not open_.any():
                    break
                at = lonlat[:, open_]
                (a, b), (c, d) = np.moveaxis(self.jacobian_lonlat(at[0], at[1], height[open_])[..., :2], 0, -1)
                dx, dy = missing[:, open_] / (a * d - b * c)
                lonlat[:, open_] += np.stack([d * dx - b * dy, a * dy - c * dx])
            missing = np.abs(wanted - self._image(lonlat, height)).max(axis=0)
        # Ten times the goal: in a large image the last rounding alone may exceed it.
        return np.where(missing <= 10 * LOCALISED_PX, lonlat, np.nan)

    def _chord(self, wanted: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where Newton starts, [2, N]: a few steps with the one slope at the centre of the domain.

        An RPC is so nearly linear that most points arrive here, at a fifth of the cost of Newton's own slopes.
        """
        centre = np.array([[self.long_off], [self.lat_off]])
        slope = np.linalg.inv(self.jacobian_lonlat(centre[0], centre[1], np.array([self.height_off]))[0, :, :2])
        lonlat = np.repeat(centre, height.size, axis=1)
        with np.errstate(all="ignore"):
            for _ in range(CHORD_STEPS):
                missing = wanted - self._image(lonlat, height)
                lonlat += slope @ missing
        # Where the steps led away Newton starts from the centre.
        return np.where(np.abs(missing).max(axis=0) < 1, lonlat, centre)

    def _image(self, lonlat: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (col, row) [2, N] of (lon, lat) [2, N]."""
        return np.stack(self.project_lonlat(lonlat[0], lonlat[1], height))

    def jacobian(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return d(col, row) / d(xyz), float64 [..., 2, 3], in pixels per unit of the scene coordinates."""
        xyz = np.asarray(xyz, np.float64)
        x, y = xyz[..., 0], xyz[..., 1]
        out = self.jacobian_lonlat(*self.to_lonlat(x, y), xyz[..., 2])
        if self.crs is None:
            return out
        box = self.lonlat_map().box
        step = 1e-3 * max(box.east - box.west, box.north - box.south)
        by_x = np.subtract(self.to_lonlat(x + step, y), self.to_lonlat(x - step, y)) / (2 * step)
        by_y = np.subtract(self.to_lonlat(x, y + step), self.to_lonlat(x, y - step)) / (2 * step)
        chain = np.moveaxis(np.stack([by_x, by_y], axis=1), (0, 1), (-2, -1))
        return np.concatenate([out[..., :2] @ chain, out[..., 2:]], axis=-1)

    def jacobian_lonlat(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64], h: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return d(col, row) / d(lon, lat, h), float64 [..., 2, 3], in pixels per degree and per metre."""
        lon, lat, h = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (lon, lat, h)))
        normal = self._normalised(lon.ravel(), lat.ravel(), h.ravel())
        value = self._coefficients() @ terms(*normal)
        slopes = self._coefficients() @ term_slopes(*normal)
        line = (slopes[:, 0] * value[1] - slopes[:, 1] * value[0]) / value[1] ** 2 * self.line_scale
        sample = (slopes[:, 2] * value[3] - slopes[:, 3] * value[2]) / value[3] ** 2 * self.samp_scale
        scales = np.array([self.long_scale, self.lat_scale, self.height_scale])
        return np.asarray(np.moveaxis(np.stack([sample, line]), -1, 0) / scales).reshape(*lon.shape, 2, 3)

    def to_lonlat(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Pair:
        """Return (lon, lat) in degrees, each float64 [...], of scene coordinates."""
        return (x, y) if self.crs is None else self.lonlat_map()(x, y)

    def from_lonlat(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> Pair:
        """Return scene coordinates (x, y), each float64 [...], of degrees."""
        return (lon, lat) if self.crs is None else crs_map(WGS84, self.crs, self._domain())(lon, lat)

    def lonlat_map(self) -> CrsMap:
        """Return the transformation from the scene's CRS to degrees, fast over the RPC's domain.

        Raises
        ------
        InputError
            The camera has no CRS: its scene coordinates are degrees already.
        """
        if self.crs is None:
            raise InputError("This RPC takes longitude and latitude; give it the scene's CRS with in_crs first.")
        return crs_map(self.crs, WGS84, mapped_box(WGS84, self.crs, self._domain()))

    def _domain(self) -> Bounds:
        """Return the box of longitudes and latitudes that the RPC was made for, a tenth wider."""
        lon, lat = 1.1 * abs(self.long_scale), 1.1 * abs(self.lat_scale)
        return Bounds(self.long_off - lon, self.lat_off - lat, self.long_off + lon, self.lat_off + lat)

    def _normalised(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64], h: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return (
            (lon - self.long_off) / self.long_scale,
            (lat - self.lat_off) / self.lat_scale,
            (h - self.height_off) / self.height_scale,
        )

    def _coefficients(self) -> NDArray[np.float64]:
        """Return line numerator, line denominator, sample numerator, sample denominator, [4, 20]."""
        return np.stack([getattr(self, name) for name in POLYNOMIALS])

    def __repr__(self) -> str:
        """Return where the middle of the domain lies, and the CRS."""
        crs = "lon/lat" if self.crs is None else self.crs.to_string()
        return f"RPC(lon {self.long_off:.5f}, lat {self.lat_off:.5f}, h {self.height_off:g} m, scene in {crs})"


def terms(L: NDArray[np.float64], P: NDArray[np.float64], H: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 20 terms of RPC00B, float64 [20, N], of normalised longitude, latitude and height [N]."""
    one = np.ones_like(L)
    quadratic = [one, L, P, H, L * P, L * H, P * H, L * L, P * P, H * H, P * L * H]
    cubic = [L**3, L * P * P, L * H * H, L * L * P, P**3, P * H * H, L * L * H, P * P * H, H**3]
    return np.stack(quadratic + cubic)


def term_slopes(L: NDArray[np.float64], P: NDArray[np.float64], H: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivatives of ``terms`` with respect to L, P and H, float64 [3, 20, N]."""
    z, one = np.zeros_like(L), np.ones_like(L)
    by_l = [z, one, z, z, P, H, z, 2 * L, z, z, P * H, 3 * L * L, P * P, H * H, 2 * L * P, z, z, 2 * L * H, z, z]
    by_p = [z, z, one, z, L, z, H, z, 2 * P, z, L * H, z, 2 * L * P, z, L * L, 3 * P * P, H * H, z, 2 * P * H, z]
    by_h = [z, z, z, one, z, L, P, z, z, 2 * H, P * L, z, z, 2 * L * H, z, z, 2 * P * H, L * L, P * P, 3 * H * H]
    return np.stack([np.stack(by_l), np.stack(by_p), np.stack(by_h)])
