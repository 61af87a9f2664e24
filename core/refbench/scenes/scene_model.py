"""What ``scene.yaml`` may say: its keys and their types. pydantic checks them, so this is imported on use."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003  # pydantic resolves it
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class ViewItem:
    """One view: files, relative to the scene's; nearest and farthest depth in scene units; time of acquisition."""

    image: str
    """The image; a GeoTIFF with RPC needs no camera file."""
    camera: str | None = None
    """Camera file: pinhole or affine YAML, or an RPC beside the image."""
    depth: str | None = None
    """Initial depth map: z in the camera's frame, scene units."""
    mask: str | None = None
    """Where the image counts."""
    depth_range: tuple[float, float] | None = None
    """Nearest and farthest depth in scene units."""
    acquired: datetime | None = None
    """Time of acquisition (UTC), where the image does not say it."""

    def __post_init__(self) -> None:
        """Refuse ranges that hold no depth."""
        if self.depth_range is not None and not 0 < self.depth_range[0] < self.depth_range[1]:
            raise ValueError("depth_range must hold 0 < nearest < farthest")


@dataclass(frozen=True)
class ReferenceItem:
    """Files of the reference; depths by view."""

    dsm: str | None = None
    """The reference DSM."""
    mask: str | None = None
    """Where it counts."""
    depths: dict[str, str] | None = None
    """Reference depth maps by view."""


@dataclass(frozen=True)
class SceneModel:
    """All of ``scene.yaml``, version 1. A key without a value is as good as none."""

    refbench_scene: int
    """Version of the format: 1."""
    id: str | None = None
    """Name of the scene in results; default: that of its folder."""
    crs: str | None = None
    """CRS of files that carry none, such as EPSG:32632; a contradiction is refused."""
    target_crs: str | None = None
    """CRS in metres that everything is brought to; own: that of a DSM in feet, counted in metres."""
    vertical: str | None = None
    """Vertical datum: ellipsoid, an EPSG code, unknown."""
    height_unit: str | None = None
    """metre, foot or us_survey_foot; heights are converted on reading."""
    nodata: float | None = None
    """NoData code of rasters that declare none."""
    gsd: float | None = None
    """Pixel in metres of a grid that is made, where no raster defines one."""
    dsm: str | None = None
    """The initial DSM; its grid is the scene's."""
    points: str | list[str] | None = None
    """Point cloud: LAS, LAZ, PLY or NPZ; several files are one cloud."""
    keep_noise: bool = False
    """Keep the points that their file classes as noise (7 and 18)."""
    orthos: dict[str, str] | None = None
    """Ortho images by name."""
    pairs: list[Annotated[list[str], Field(min_length=2)]] | None = None
    """Names of orthos that belong together; default: the first two."""
    ndvi: str | None = None
    """NDVI in [-1, 1]; else it is made from an ortho with red and near infrared."""
    views: dict[str, ViewItem] | None = None
    """Images with cameras by name."""
    masks: dict[str, str] | None = None
    """Masks by name, for strata: any number but 0 is inside."""
    layers: dict[str, str] | None = None
    """What is known of the initial heights, one band each: sigma is their standard deviation (m), others as named."""
    reference: ReferenceItem | None = field(default=None)
    """The reference, for scoring only; no method sees it."""
