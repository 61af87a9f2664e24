"""How heights and image values become network inputs, and where the constants come from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from refbench.contracts.errors import WeightsError
from refbench.geometry.image_scale import ImageScale, robust_image_scale
from refbench_implicity.config import published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.raster import Image
    from refbench.contracts.source import RasterSource
    from refbench_implicity.config import NormalisationConfig, ZShift


@dataclass(frozen=True, slots=True)
class Normalisation:
    """The constants that a set of weights was trained with."""

    z_std: float
    z_shift: ZShift
    image_rule: Literal["fixed", "robust"]
    image_mean: float
    image_std: float
    bands: Literal["first", "mean"]

    def image_scale(self, source: RasterSource[Image]) -> ImageScale:
        """Return the scale of one ortho image; ``robust`` reads it, a large one by sample windows."""
        if self.image_rule == "fixed":
            return ImageScale(self.image_mean, self.image_std)
        return robust_image_scale(source, self.bands)

    def as_dict(self) -> dict[str, Any]:
        """Return the constants as ``model.yaml`` stores them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def resolve_normalisation(
    config: NormalisationConfig, stored: Mapping[str, Any], *, images: bool = True
) -> tuple[Normalisation, tuple[str, ...]]:
    """Return the constants: from the configuration, else as stored with the weights, else the published ones.

    The notes say which were assumed; those of ``images`` do not matter to a network without any.
    """
    values: dict[str, Any] = {}
    assumed = []
    for field in fields(Normalisation):
        configured = getattr(config, field.name)
        values[field.name] = stored.get(field.name) if configured is None else configured
        if values[field.name] is None:
            values[field.name] = getattr(published, field.name)
            assumed.append(field.name)
    if values["image_rule"] == "robust":
        if "bands" in assumed:
            values["bands"] = "mean"
        assumed = [name for name in assumed if name not in ("image_mean", "image_std", "bands")]
    if not images:
        assumed = [name for name in assumed if name.startswith("z_")]
    if not values["z_std"] > 0 or not values["image_std"] > 0:
        raise WeightsError(f"z_std and image_std must be positive, got {values['z_std']} and {values['image_std']}.")
    if not assumed:
        return Normalisation(**values), ()
    note = "Neither weights nor configuration carry these constants, the published ones are used: "
    return Normalisation(**values), (note + ", ".join(f"{name} {values[name]}" for name in assumed) + ".",)
