"""The constants that a set of weights was trained with, and what they do to a tile."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from refbench.contracts.errors import WeightsError
from refbench.geometry.image_scale import robust_image_scale
from refbench_resdepth.normalise import normalise_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench.contracts.raster import Image
    from refbench.contracts.source import RasterSource
    from refbench.geometry.image_scale import ImageScale
    from refbench_resdepth.config import NormalisationConfig


@dataclass(frozen=True, slots=True)
class Scale:
    """``dsm_std`` in metres; images by the rule ``fixed`` (one mean and deviation for all) or ``robust`` (their own).

    ``fixed`` with a mean of None or 0 centres on the joint mean of a tile's views. Under the ``height_rule`` ``gsd``
    ``dsm_std`` counts pixels, so that a surface looks the same at any pixel size.
    """

    dsm_std: float
    image_rule: Literal["fixed", "robust"] = "robust"
    image_mean: float | None = None
    image_std: float | None = None
    height_rule: Literal["fixed", "gsd"] = "fixed"

    def __post_init__(self) -> None:
        """Refuse scales that divide by nothing."""
        if not self.dsm_std > 0:
            raise WeightsError(f"The height scale dsm_std must be positive, got {self.dsm_std}.")
        if self.image_rule == "fixed" and self.image_std is not None and not self.image_std > 0:
            raise WeightsError(f"image_std must be positive, got {self.image_std}.")

    def height_std(self, gsd: float) -> float:
        """Return what heights are divided by, metres, on pixels of ``gsd`` metres."""
        return self.dsm_std * gsd if self.height_rule == "gsd" else self.dsm_std

    def image_scales(self, sources: Mapping[str, RasterSource[Image]]) -> dict[str, ImageScale]:
        """Return each image's own scale under the rule ``robust``, nothing under ``fixed``; reads the images once."""
        if self.image_rule == "fixed":
            return {}
        return {name: robust_image_scale(source) for name, source in sources.items()}

    def images(
        self, pixels: NDArray[np.floating[Any]], names: Sequence[str], own: Mapping[str, ImageScale]
    ) -> NDArray[np.float32]:
        """Return network values [views, rows, cols] of the images ``names`` of one tile; unknown pixels become 0."""
        if self.image_rule == "robust":
            return np.stack([own[name].apply(layer) for name, layer in zip(names, pixels, strict=True)])
        if self.image_std is None:
            raise WeightsError("The weights carry no image_std; give the official pickle, or normalisation.image_std.")
        return normalise_images(pixels, self.image_mean, self.image_std)

    def as_dict(self) -> dict[str, Any]:
        """Return the constants as ``model.yaml`` stores them, the height rule only where it is not ``fixed``."""
        values = asdict(self)
        if self.height_rule == "fixed":
            del values["height_rule"]
        return values


def resolve_scale(config: NormalisationConfig, stored: Mapping[str, Any], *, images: bool) -> Scale:
    """Return the scale: from the configuration, else as stored with the weights.

    Raises
    ------
    WeightsError
        Nobody knows the height scale, or that of the images where there are ``images``.
    """
    values = dict(stored)
    for name in ("dsm_std", "image_rule", "image_mean", "image_std", "height_rule"):
        if (given := getattr(config, name)) is not None:
            values[name] = given
    if values.get("dsm_std") is None:
        raise WeightsError(
            "Neither the weights nor the configuration know the height scale; give the official run folder, "
            "DSM_normalization_parameters.p beside the checkpoint, or --set normalisation.dsm_std=METRES."
        )
    if values.get("image_rule") is None:
        values["image_rule"] = "fixed" if values.get("image_std") is not None else "robust"
    if images and values["image_rule"] == "fixed" and values.get("image_std") is None:
        raise WeightsError(
            "Neither the weights nor the configuration know the scale of the images; give the official "
            "Image_normalization_parameters.p beside the checkpoint, or --set normalisation.image_rule=robust."
        )
    return Scale(
        dsm_std=values["dsm_std"],
        image_rule=values["image_rule"],
        image_mean=values.get("image_mean"),
        image_std=values.get("image_std"),
        height_rule=values.get("height_rule") or "fixed",
    )
